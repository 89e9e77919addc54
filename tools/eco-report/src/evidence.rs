//! `--evidence`: the words and the service first, before the stream is read; then what the stream asks for.

use eco::config::Config;
use eco::error::{Exit, Result};
use eco::evidence::{Asked, Folder, folder, gather};
use eco::report::{Report, Story};
use eco::tool::Tool;
use std::path::Path;

/// A place for evidence, and the service that it is about.
pub struct Place {
    folder: Folder,
    config: Config,
}

/// Looks at the folder and the configuration: what is wrong with either is said before anything is read or written.
pub fn prepare(tool: &mut Tool, dir: &Path) -> Result<Place> {
    let place = Place { folder: folder(dir)?, config: tool.config()? };
    // As with -o: Ctrl-C for the whole pipe ends the reading, and copies of databases must not be left behind.
    tool.catch_signals()?;
    Ok(place)
}

impl Place {
    /// Gathers, writes the folder, and tells the report. What is missing is said, and makes the exit code 3; the report is written all
    /// the same.
    pub fn gather(&self, tool: &Tool, story: &Story, report: &mut Report) -> Result<Exit> {
        let Some(case) = story.case(report) else {
            tool.say("no evidence is gathered: there is no incident to gather it for");
            return Ok(Exit::Done);
        };
        let (eco, probes, scratch) = (self.config.ecosystem(), self.config.log_probes(), tool.scratch()?);
        let progress = tool.progress("comparing");
        let add = |bytes| progress.add(bytes);
        let evidence = gather(&case, &Asked::new(&case, &eco, &self.config.evidence, &probes, tool.now(), scratch.path(), &add))?;
        if let Some(kept) = self.folder.write(&evidence)? {
            tool.error(&kept);
        }
        evidence.missing().for_each(|what| tool.error(&format!("not in the evidence: {what}")));
        report.add_evidence(evidence.summary(self.folder.path()));
        Ok(if evidence.is_whole() { Exit::Done } else { Exit::Unfinished })
    }
}
