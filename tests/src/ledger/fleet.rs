//! The hosts of a run, as processes that are killed, stopped and replaced.
//!
//! A host that ends by itself, or not with success when it is asked to end, is a failure of the
//! run, whatever the store holds afterwards; it is started again, so that the run goes on.

use super::schedule::HostFault;
use crate::host::{Config, Host, Log};

/// All hosts of a run.
pub struct Fleet {
    members: Vec<Member>,
    failures: Vec<String>,
}

struct Member {
    name: String,
    config: Config,
    host: Host,
    /// Of all its processes.
    logs: Vec<Log>,
}

/// Longer than any outage of a run.
const STARTUP_TIMEOUT: &str = "120s";

impl Fleet {
    /// Starts so many hosts with the same configuration.
    pub fn start(count: usize, text: &str) -> anyhow::Result<Self> {
        let members = (0..count).map(|number| {
            let name = format!("host-{number}");
            let config = Config::with_startup_timeout(&name, STARTUP_TIMEOUT, text)?;
            let host = Host::start(&config)?;
            let logs = vec![host.shared_log()];
            Ok(Member {
                name,
                config,
                host,
                logs,
            })
        });
        Ok(Fleet {
            members: members.collect::<anyhow::Result<_>>()?,
            failures: Vec::new(),
        })
    }

    /// # Errors
    ///
    /// A host that has ended, with what it said.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        for Member { name, host, .. } in &mut self.members {
            if let Some(status) = host.has_ended()? {
                anyhow::bail!("{name} ended at its start with {status}: {}", host.log());
            }
        }
        Ok(())
    }

    /// Lets a fault happen, and mends it.
    pub async fn suffer(&mut self, fault: HostFault) -> anyhow::Result<()> {
        self.replace_ended()?;
        match fault {
            HostFault::Kill { host, down } => {
                self.members[host].host.signal("KILL")?;
                tokio::time::sleep(down).await;
                self.members[host].start_again()?;
            }
            HostFault::Stop { host, pause } => {
                self.members[host].host.signal("STOP")?;
                tokio::time::sleep(pause).await;
                self.members[host].host.signal("CONT")?;
            }
            HostFault::Roll => {
                for host in 0..self.members.len() {
                    self.terminate(host).await?;
                    self.members[host].start_again()?;
                }
            }
        }
        Ok(())
    }

    /// Ends all hosts in good order. Answers what failed.
    pub async fn end(&mut self) -> anyhow::Result<Vec<String>> {
        self.replace_ended()?;
        for host in 0..self.members.len() {
            self.terminate(host).await?;
        }
        Ok(std::mem::take(&mut self.failures))
    }

    /// The logs of each host.
    pub fn logs(&self) -> Vec<(String, String)> {
        let logs = self.members.iter().map(|member| {
            let texts: Vec<String> = member.logs.iter().map(Log::text).collect();
            (member.name.clone(), texts.join("=== started again ===\n"))
        });
        logs.collect()
    }

    async fn terminate(&mut self, host: usize) -> anyhow::Result<()> {
        let Member { name, host, .. } = &mut self.members[host];
        let status = host.end().await?;
        if !status.success() {
            let failure = format!("{name} was asked to end, and ended with {status}");
            self.failures.push(failure);
        }
        Ok(())
    }

    /// Replaces hosts that have ended.
    fn replace_ended(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.host.has_ended()? {
                let failure = format!("{} ended by itself with {status}", member.name);
                self.failures.push(failure);
                member.start_again()?;
            }
        }
        Ok(())
    }
}

impl Member {
    /// Starts it anew, and ends what is left of the process before.
    fn start_again(&mut self) -> anyhow::Result<()> {
        self.host = Host::start(&self.config)?;
        self.logs.push(self.host.shared_log());
        Ok(())
    }
}
