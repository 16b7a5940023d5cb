//! The five capability sets of a process, from the configuration to the kernel (capabilities(7)).
//!
//! A capability that cannot be granted is left out with a warning, as the runtime specification
//! wants it: the host's bounding set may lack it, or the kernel may be too old to know it. An
//! effective capability that the configuration itself does not permit is an error.

use linux::Context as _;
use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use tracing::warn;

use crate::{Error, Result};

/// What a process may hold and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    bounding: CapabilitySet,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    ambient: CapabilitySet,
}

/// What can be granted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grantable {
    bounding: CapabilitySet,
    permitted: CapabilitySet,
}

impl Grantable {
    /// By a process in the user namespace of the caller: what the caller has itself.
    pub(crate) fn here() -> linux::Result<Self> {
        let bounding = known().filter(|(_, held)| *held).map(|(one, _)| one).collect();
        let own = thread::capabilities(None).during(|| "capget")?;
        Ok(Self { bounding, permitted: own.permitted })
    }

    /// By a process that enters a user namespace: its credentials start full there
    /// (user_namespaces(7), "Capabilities").
    pub(crate) fn in_user_namespace() -> Self {
        let all = known().map(|(one, _)| one).collect();
        Self { bounding: all, permitted: all }
    }
}

/// The capabilities this kernel knows, and whether each is in the caller's bounding set: numbers
/// are given out in order, and asking for the first unknown one answers EINVAL (prctl(2),
/// PR_CAPBSET_READ).
fn known() -> impl Iterator<Item = (CapabilitySet, bool)> {
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .map_while(|one| thread::capability_is_in_bounding_set(one).ok().map(|held| (one, held)))
}

impl Capabilities {
    /// Reads `process.capabilities`; without it a process has none.
    pub(crate) fn from_spec(spec: Option<&LinuxCapabilities>) -> Result<Self> {
        let set = |names: Option<&Names>| {
            names.map_or(Ok(CapabilitySet::empty()), |names| {
                names.iter().try_fold(CapabilitySet::empty(), |set, name| {
                    let name = name.to_string();
                    CapabilitySet::from_name(&name).map(|one| set | one).ok_or_else(|| {
                        Error::config(
                            "process.capabilities",
                            format!("unknown capability CAP_{name}"),
                        )
                    })
                })
            })
        };
        let sets = Self {
            bounding: set(spec.and_then(|spec| spec.bounding().as_ref()))?,
            effective: set(spec.and_then(|spec| spec.effective().as_ref()))?,
            permitted: set(spec.and_then(|spec| spec.permitted().as_ref()))?,
            inheritable: set(spec.and_then(|spec| spec.inheritable().as_ref()))?,
            ambient: set(spec.and_then(|spec| spec.ambient().as_ref()))?,
        };
        let beyond = sets.effective - sets.permitted;
        if !beyond.is_empty() {
            return Err(Error::config(
                "process.capabilities.effective",
                format!("{} not in permitted; add it there or drop it", names(beyond)),
            ));
        }
        Ok(sets)
    }

    /// Without what cannot be granted, and the names of that.
    ///
    /// The kernel takes an ambient capability only if it is permitted and inheritable, and an
    /// inheritable one only from the bounding or the permitted set (capabilities(7)).
    fn limited_to(self, grantable: Grantable) -> (Self, CapabilitySet) {
        let permitted = self.permitted & grantable.permitted;
        let inheritable = self.inheritable & grantable.permitted & grantable.bounding;
        let granted = Self {
            bounding: self.bounding & grantable.bounding,
            effective: self.effective & permitted,
            permitted,
            inheritable,
            ambient: self.ambient & permitted & inheritable,
        };
        let missing = (self.bounding - granted.bounding)
            | (self.permitted - granted.permitted)
            | (self.inheritable - granted.inheritable)
            | (self.ambient - granted.ambient);
        (granted, missing)
    }

    /// What of it can be granted; the rest is warned about.
    pub(crate) fn granted_by(self, grantable: Grantable) -> Self {
        let (granted, missing) = self.limited_to(grantable);
        if !missing.is_empty() {
            warn!(capabilities = %names(missing), "left out capabilities that cannot be granted");
        }
        granted
    }

    /// Takes everything else out of the bounding set. Needs CAP_SETPCAP, so it comes before any
    /// change of credentials.
    pub(super) fn limit_bounding_set(&self) -> linux::Result<()> {
        for (capability, held) in known() {
            if !held || self.bounding.contains(capability) {
                continue;
            }
            thread::remove_capability_from_bounding_set(capability)
                .during(|| format!("drop {} from the bounding set", names(capability)))?;
        }
        Ok(())
    }

    /// Makes the other four sets true, with `extra` still permitted and effective; an ambient
    /// capability goes away by itself when a later call takes its permission away.
    pub(super) fn set(&self, extra: CapabilitySet) -> linux::Result<()> {
        let sets = CapabilitySets {
            effective: self.effective | extra,
            permitted: self.permitted | extra,
            inheritable: self.inheritable,
        };
        thread::set_capabilities(None, sets).during(|| "capset")
    }

    /// Makes the ambient set true; the permitted and inheritable ones must be.
    pub(super) fn set_ambient(&self) -> linux::Result<()> {
        thread::clear_ambient_capability_set().during(|| "clear the ambient set")?;
        for capability in self.ambient.iter() {
            thread::configure_capability_in_ambient_set(capability, true)
                .during(|| format!("raise {} in the ambient set", names(capability)))?;
        }
        Ok(())
    }

    /// Whether `capability` will be effective.
    pub(super) fn effective(&self, capability: CapabilitySet) -> bool {
        self.effective.contains(capability)
    }
}

/// `CAP_NET_ADMIN, CAP_SYS_TIME`.
fn names(set: CapabilitySet) -> String {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
