//! What is written in the end: a report about one incident, or the list of all.

use crate::args::{Args, Format};
use crate::evidence::Place;
use eco::config::Contact;
use eco::error::{Error, Exit, Result};
use eco::report::{self, Album, Choice, Old, State, Story};
use eco::tool::Tool;

/// A service by its name, and who is to be called about it.
pub struct People {
    service: String,
    contacts: Vec<Contact>,
}

/// The report from before, if there is one.
pub fn old(args: &Args, tool: &Tool) -> Result<Option<Old>> {
    let Some(file) = &args.merge else { return Ok(None) };
    let wrong = |why: String| Error::Usage(format!("--merge {}: {why}", file.display()));
    Old::read(&tool.read_text(file)?).map(Some).map_err(wrong)
}

/// The contacts of the configuration. A report is not to fail on one that nobody named.
pub fn people(args: &Args, tool: &Tool) -> Result<Option<People>> {
    match tool.config_if_any() {
        Ok(config) => Ok(config.map(|config| People { service: config.name, contacts: config.contacts })),
        Err(error) if args.common.config.is_none() => {
            tool.say(&format!("the report names no contacts: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// All incidents, and whether there are any.
pub fn list(args: &Args, story: &Story) -> (String, Result<Exit>) {
    let list = story.list();
    let exit = if list.is_empty() { Exit::No } else { Exit::Done };
    let text = match args.format() {
        Format::Json => report::json(&list),
        _ if list.is_empty() => String::new(),
        _ => report::table(&list),
    };
    (text, Ok(exit))
}

/// The report, and whether there is anything to report on and all evidence could be had: where not, the report is written all the same.
pub fn report(
    args: &Args,
    tool: &mut Tool,
    story: &Story,
    people: Option<People>,
    album: Option<Album>,
    evidence: Option<Place>,
) -> Result<(String, Result<Exit>)> {
    let old = old(args, tool)?;
    let mut report = story.report_on(choice(args, story, old.as_ref())?);
    // Somebody else's number would be worse than none.
    if let Some(people) = people.filter(|people| report.ecosystem.as_ref().is_none_or(|name| *name == people.service)) {
        report.contacts = people.contacts;
    }
    if let Some(old) = old {
        report.keep(old);
    }
    let gathered = evidence.map_or(Ok(Exit::Done), |place| place.gather(tool, story, &mut report));
    let mut failed = None;
    let text = match args.format() {
        Format::Html => report.html(&story.charts(&report)),
        Format::Text => report.text(),
        Format::Json => report::json(&report),
        Format::Md => {
            let charts = album.iter().flat_map(|album| story.charts(&report).into_iter().map(move |chart| (album, chart)));
            let pictures = charts.map(|(album, chart)| album.add(chart.name, &chart.title, &chart.description, &chart.svg));
            // A report without its pictures is worth more than none.
            let there: Vec<_> = pictures.filter_map(|picture| picture.map_err(|e| failed = Some(e)).ok()).collect();
            report.illustrated(&there)
        }
    };
    let gathered = failed.map_or(gathered, Err);
    Ok((text, gathered.map(|exit| if report.state == State::None { Exit::No } else { exit })))
}

/// The incident that is meant: what people wrote about one must never end up in the report about another.
fn choice(args: &Args, story: &Story, old: Option<&Old>) -> Result<Choice> {
    let asked = args.incident.as_deref().map(|id| story.find(id)).transpose()?;
    let (Some(old), Some(merged)) = (old, &args.merge) else { return Ok(asked.unwrap_or_default()) };
    let merged = merged.display();
    let Some(about) = old.incident() else {
        if old.is_blank() {
            return Ok(asked.unwrap_or_default());
        }
        let unsaid = || Error::Usage(format!("--merge {merged} does not say which incident it is about: its last line is gone; add --incident"));
        return asked.ok_or_else(unsaid);
    };
    match (story.find_exactly(about), asked) {
        (Ok(same), Some(asked)) if same != asked => Err(Error::Usage(format!("--merge {merged} is about another incident, {about}"))),
        (Ok(same), _) => Ok(same),
        (Err(_), _) => Err(Error::Usage(format!("--merge {merged} is about incident {about}, which is not in the stream"))),
    }
}
