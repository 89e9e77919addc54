//! Metrics as text that two formats can be read from: OpenMetrics, and Prometheus' own, which knows `# UNIT` and `# EOF` as
//! comments. So every family is a gauge (a `stateset` would be refused there), and no sample has a time of its own, which
//! node_exporter's textfile collector would refuse.

use super::{STATES, amount, errors, number, probe_names, share, state};
use crate::record::{Health, Stamp};
use std::fmt::Write;

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// All that a sample knows, one family a metric, `# EOF` at the end.
pub fn metrics(stamp: &Stamp, health: &Health) -> String {
    let mut text = Text { out: String::new(), ecosystem: stamp.ecosystem.as_deref() };
    let truth = |value: Option<&bool>| value.map(|is| f64::from(u8::from(*is)));
    text.one("eco_up_known", "", "Whether it is known if the service is up.", Some(f64::from(u8::from(health.up.known().is_some()))));
    text.one("eco_up", "", "Whether the service is up.", truth(health.up.known()));
    text.one("eco_error_rate_ratio", "ratio", "Failed share of the requests.", errors(health));
    text.one("eco_response_seconds", "seconds", "Response time.", amount(&health.response_ms).map(|ms| ms / 1000.0));
    text.one("eco_cpu_usage_ratio", "ratio", "Share of the processors in use by the service.", share(&health.cpu_usage));
    text.one("eco_memory_usage_ratio", "ratio", "Share of the memory in use by the service.", share(&health.memory_usage));
    text.one("eco_requests", "", "Requests that the rates of this sample are about.", amount(&health.requests));
    text.one("eco_integrity", "", "Whether the data is consistent.", truth(health.integrity.known()));
    text.one("eco_integration", "", "Whether the modules work together.", truth(health.integration.known()));
    let modules = health.modules.iter().flat_map(|(name, said)| {
        let now = state(said);
        STATES.map(|state| (vec![("module", name.as_str()), ("state", state)], f64::from(u8::from(state == now))))
    });
    text.family("eco_module_state", "", "1 for the state that the module is in, 0 for the others.", modules);
    let names = probe_names(health);
    let probes = || names.iter().zip(&health.probes);
    let content = probes().filter_map(|(name, probe)| Some((vec![("probe", name.as_str())], truth(probe.ok.as_ref())?)));
    text.family("eco_probe_ok", "", "Whether the probe was content.", content);
    let took = probes().map(|(name, probe)| (vec![("probe", name.as_str())], probe.took_ms as f64 / 1000.0));
    text.family("eco_probe_duration_seconds", "seconds", "How long the probe took.", took);
    let time = stamp.time.as_millisecond() as f64 / 1000.0;
    text.one("eco_health_timestamp_seconds", "seconds", "When the probes were asked, since 1970.", Some(time));
    text.out.push_str("# EOF\n");
    text.out
}

struct Text<'a> {
    out: String,
    /// On every sample, so that the files of two services on one machine do not contradict each other.
    ecosystem: Option<&'a str>,
}

impl<'a> Text<'a> {
    fn one(&mut self, name: &str, unit: &str, help: &str, value: Option<f64>) {
        self.family(name, unit, help, value.map(|value| (Vec::new(), value)).into_iter());
    }

    /// A family without samples is left out.
    fn family<'b>(&mut self, name: &str, unit: &str, help: &str, samples: impl Iterator<Item = (Labels<'b>, f64)>) {
        let mut head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        if !unit.is_empty() {
            head.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        for (own, value) in samples {
            self.out.push_str(&std::mem::take(&mut head));
            self.out.push_str(name);
            let labels = self.ecosystem.map(|ecosystem| ("ecosystem", ecosystem)).into_iter().chain(own);
            let labels: Vec<String> = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            if !labels.is_empty() {
                // Writing to a string cannot fail.
                let _ = write!(self.out, "{{{}}}", labels.join(","));
            }
            let _ = writeln!(self.out, " {}", number(value));
        }
    }
}

/// A label's value as both formats escape it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
