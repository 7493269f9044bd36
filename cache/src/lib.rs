//! ouro-cache
