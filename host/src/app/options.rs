//! What the configuration says, as the pipeline's own options.

use std::sync::Arc;
use std::time::Duration;

use super::secrets;
use crate::admin::{self, Access, Role, Token};
use crate::config;
use crate::gateway::access::Views;
use crate::gateway::cors::Origins;
use crate::gateway::rate::RateLimit;
use crate::gateway::{self, jwt};
use crate::pipeline::dedupe::IdSource;
use crate::pipeline::partition::BatchLimits;
use crate::pipeline::sieve::{DedupeOptions, Scope, WithoutId, WithoutKey};
use crate::pipeline::version::{CrashTerms, TrialTerms};
use crate::pipeline::{OnFault, ParkingOptions, parking, queue};
use crate::plugin;

/// Stands for all views, and for all sites.
pub(super) const ALL: &str = "*";

/// Less than what proxies wait for a byte.
const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who may use the admin API.
pub(super) fn access(host: &config::Host) -> Result<Access, secrets::Unusable> {
    let names = host.names.iter().cloned().collect();
    Ok(Access::new(tokens(host)?).named(names))
}

/// Its tokens, as their files are now.
pub(super) fn tokens(host: &config::Host) -> Result<Vec<Token>, secrets::Unusable> {
    let mut tokens = Vec::new();
    for (name, token) in &host.tokens {
        let role = match token.role {
            config::Role::Read => Role::Read,
            config::Role::Deploy => Role::Deploy,
            config::Role::Operate => Role::Operate,
        };
        let scope = match &token.projections {
            None => admin::Scope::All,
            Some(names) => admin::Scope::These(Arc::new(names.iter().cloned().collect())),
        };
        let key = format!("host.tokens.{name}.token-file");
        for secret in secrets::read(&token.token, &key)? {
            let token = Token::new(name.as_str(), &secret, role);
            tokens.push(token.limited(scope.clone()));
        }
    }
    Ok(tokens)
}

pub(super) fn batch(batch: &config::Batch) -> BatchLimits {
    BatchLimits {
        events_max: count(batch.events_max),
        documents_max: count(batch.documents_max),
        bytes_max: bytes(batch.bytes_max),
    }
}

pub(super) fn queue(queue: &config::Queue) -> queue::Limits {
    queue::Limits {
        events_max: count(queue.events_max),
        bytes_max: bytes(queue.bytes_max),
    }
}

pub(super) fn dedupe(dedupe: &config::Dedupe) -> DedupeOptions {
    DedupeOptions {
        source: match &dedupe.id {
            config::IdSource::Header(name) => IdSource::Header(name.clone()),
            config::IdSource::Value(pointer) => IdSource::Value(pointer.clone()),
        },
        window: u64::from(dedupe.window),
        scope: match dedupe.scope {
            config::Scope::Partition => Scope::Partition,
            config::Scope::Projection => Scope::Projection,
        },
        without_id: match dedupe.without_id {
            config::WithoutId::Project => WithoutId::Fold,
            config::WithoutId::Reject => WithoutId::Park,
        },
    }
}

pub(super) fn without_key(without_key: config::WithoutKey) -> WithoutKey {
    match without_key {
        config::WithoutKey::Project => WithoutKey::Fold,
        config::WithoutKey::Ignore => WithoutKey::Ignore,
        config::WithoutKey::Park => WithoutKey::Park,
    }
}

pub(super) fn parking(parking: &config::Parking) -> ParkingOptions {
    ParkingOptions {
        on_fault: match parking.on_fault {
            config::OnFault::Park => OnFault::Park,
            config::OnFault::Stop => OnFault::Stop,
        },
        limits: parking::Limits {
            keys_max: count(parking.keys_max),
            events_per_key_max: u64::from(parking.events_per_key_max),
            bytes_max: parking.bytes_max,
        },
        dead_letter_topic: parking.dead_letter_topic.as_deref().map(Into::into),
    }
}

pub(super) fn trial(trial: &config::Trial) -> TrialTerms {
    TrialTerms {
        events: count(trial.events),
        faults_max: count(trial.faults_max),
    }
}

pub(super) fn crashes(limits: &config::Limits) -> CrashTerms {
    CrashTerms {
        crashes_max: count(limits.crashes_max),
        window: limits.crash_window,
    }
}

pub(super) fn limits(limits: &config::Limits) -> plugin::Limits {
    plugin::Limits {
        memory_bytes_max: bytes(limits.memory_bytes_max),
        table_elements_max: count(limits.table_elements_max),
        call_base: limits.call_base,
        call_per_event: limits.call_per_event,
        call_max: limits.call_max,
        writes_per_event: count(limits.writes_per_event_max),
        messages_per_event: count(limits.messages_per_event_max),
    }
}

pub(super) fn reading(gateway: &config::Gateway) -> gateway::Limits {
    gateway::Limits {
        connections_max: count(gateway.connections_max),
        connections_per_address_max: count(gateway.connections_per_address_max),
        streams_max: count(gateway.streams_max),
        streams_per_client_max: count(gateway.streams_per_client_max),
        stream_lifetime: gateway.stream_lifetime,
        stream_keep_alive: STREAM_KEEP_ALIVE,
        request_timeout: gateway.request_timeout,
        wait_max: gateway.wait_max,
        idle_timeout: gateway.idle_timeout,
        write_timeout: gateway.write_timeout,
        access_log: gateway.access_log,
    }
}

/// Who may read.
pub(super) fn readers(gateway: &config::Gateway) -> Result<gateway::Setup, secrets::Unusable> {
    let (tokens, jwt) = reader_tokens(gateway)?;
    let roles = gateway.readers.roles.iter().map(|(name, views)| {
        let views = match views.iter().any(|view| view == ALL) {
            true => Views::All,
            false => Views::These(views.iter().cloned().collect()),
        };
        (name.clone(), views)
    });
    let origins = &gateway.cors_origins;
    let origins = match origins.iter().any(|origin| origin == ALL) {
        true => Origins::All,
        false => Origins::These(origins.iter().cloned().collect()),
    };
    let rate_limit = gateway.rate_limit.map(|limit| RateLimit {
        per_second: limit.requests,
        burst: limit.burst,
    });
    let access = gateway::access::Access::new(tokens, jwt, roles.collect());
    Ok(gateway::Setup {
        access: access.named(gateway.names.iter().cloned().collect()),
        origins,
        rate_limit,
        // Until the store has told the one that all hosts share.
        cursors: gateway::CursorKey::default(),
    })
}

/// Keys for JWTs that cannot be used, each with the reason, where others can.
pub(super) fn keys_left_out(gateway: &config::Gateway) -> Result<Vec<String>, secrets::Unusable> {
    let jwt = gateway.readers.jwt.as_ref().map(jwt).transpose()?;
    Ok(jwt.map_or_else(Vec::new, |jwt| jwt.left_out().to_vec()))
}

/// What is taken of readers, as the files are now.
pub(super) fn reader_tokens(
    gateway: &config::Gateway,
) -> Result<(Vec<gateway::access::Token>, Option<jwt::Jwt>), secrets::Unusable> {
    let readers = &gateway.readers;
    let mut tokens = Vec::new();
    for (name, token) in &readers.tokens {
        let key = format!("gateway.tokens.{name}.token-file");
        for secret in secrets::read(&token.token, &key)? {
            let role = token.role.as_str();
            tokens.push(gateway::access::Token::new(name.as_str(), &secret, role));
        }
    }
    let jwt = readers.jwt.as_ref().map(jwt).transpose()?;
    Ok((tokens, jwt))
}

fn jwt(jwt: &config::Jwt) -> Result<jwt::Jwt, jwt::BadKeys> {
    let terms = jwt::Terms {
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        role_claim: jwt.role_claim.clone(),
    };
    match &jwt.key {
        config::JwtKey::Secret(secret) => Ok(jwt::Jwt::with_secret(secret.expose(), terms)),
        config::JwtKey::Keys(path) => jwt::Jwt::with_keys(path, terms),
    }
}

pub(super) fn workshop(plugins: &config::Plugins) -> plugin::Workshop {
    plugin::Workshop {
        program: plugin::Workshop::this_program(),
        cache: plugins.cache.clone(),
        time_max: plugins.compile_timeout,
        memory_bytes_max: plugins.compile_memory_bytes,
    }
}

pub(super) fn count(value: u32) -> usize {
    value as usize
}

pub(super) fn bytes(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_room_for_the_tables_that_a_plugin_may_be_given() {
        assert!(count(config::TABLE_ELEMENTS_LIMIT) <= plugin::TABLE_ELEMENTS_MAX);
    }
}
