//! ouro-deploy
