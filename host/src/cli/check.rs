//! `projectionist check`: what is wrong, before anything runs.

use clap::Args;

use super::output::{print_line, print_lines};
use super::{ConfigFile, Failure, load, runtime};
use crate::app;
use crate::projection::Ownership;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the configuration in force: defaults filled in, secrets redacted
    #[arg(long)]
    print: bool,
    /// Also ask Kafka and the stores, and tell what their settings mean for a host; changes
    /// nothing there
    #[arg(long, conflicts_with = "print")]
    connect: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = load(&self.file.config)?;
        if self.connect {
            app::check_limits(&config)?;
        }
        let catalogue = app::check(&config)?;
        if self.print {
            return Ok(print_lines(config.to_toml_redacted().trim_end())?);
        }
        print_line(&format!("{}: no problems", self.file.config.display()))?;
        for plugin in &catalogue.plugins {
            let descriptor = plugin.program.descriptor();
            print_line(&format!(
                "projection \"{}\": {} {}, from {} into store \"{}\"",
                plugin.name,
                descriptor.name,
                descriptor.version,
                plugin.projection.topics.join(", "),
                plugin.projection.store,
            ))?;
            let about = plugin.program.about().projection.as_ref();
            let own = about.map_or(&[][..], |about| about.views.as_slice());
            for (view, own) in descriptor.views.iter().zip(own) {
                let ownership = match view.ownership {
                    Ownership::ByKey => "one document for each key",
                    Ownership::Shared => "any event may touch any document",
                };
                let of_the_plugin = match *own.name == *view.name {
                    true => String::new(),
                    false => format!(" (the plugin's \"{}\")", own.name),
                };
                let line = format!("  view \"{}\"{of_the_plugin}: {ownership}", view.name);
                print_line(&line)?;
            }
        }
        for warning in app::left_out(&config)? {
            print_line(&format!("warning: {warning}"))?;
        }
        if self.connect {
            for line in runtime()?.block_on(app::reach(&config, &catalogue))? {
                print_line(&line)?;
            }
        }
        Ok(())
    }
}
