//! `ouro hooks`

use ouro_deploy::{Offer, Offered};

use crate::cli::Hooks;
use crate::commands::deploy::failure;
use crate::error::{CliError, Kind};
use crate::render::output::{Ink, paint};
use crate::session::Session;

/// Says which attach constructors this kernel has.
pub fn run(session: &Session, args: &Hooks) -> Result<(), CliError> {
    let offers = ouro_deploy::offered();
    // Who may ask for nothing gets no answer, and so is told that instead.
    if offers.iter().all(|offer| offer.state == Offered::Refused) {
        ouro_deploy::require_all_capabilities().map_err(failure)?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&offers).map_err(|error| CliError::new(Kind::Failed, error.to_string()))?;
        return session.fact(&format!("{text}\n"));
    }
    let color = session.output.settings().out.color;
    session.fact(&offers.iter().map(|offer| line(offer, color)).collect::<String>())
}

fn line(offer: &Offer, color: bool) -> String {
    let (word, ink) = match offer.state {
        Offered::Available => ("available", Ink::Cyan),
        Offered::Refused => ("refused", Ink::Dim),
        Offered::Missing => ("missing", Ink::Red),
    };
    let line =
        format!("{:15} {}  {}", offer.constructor, paint(color, ink, &format!("{word:9}")), offer.why.as_deref().unwrap_or(""));
    format!("{}\n", line.trim_end())
}
