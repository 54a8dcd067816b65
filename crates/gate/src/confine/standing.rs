//! Which layers are in force.

use telemetry::metrics::{MetricError, Registry};

use super::ConfineError;

/// One thing that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Being root.
    User,
    /// Capabilities, those in the bounding set among them.
    Capabilities,
    /// Files and ports.
    Landlock,
    /// System calls.
    Seccomp,
}

/// Who the gate has become, and what holds it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// What could not be had, and why; allowed by name.
    degraded: Vec<(Layer, String)>,
    allowed: Vec<Layer>,
    /// None until [`confine`](super::confine): a gate inside another program.
    in_force: Option<Vec<Layer>>,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Capabilities, Self::Landlock, Self::Seccomp];

    /// The word in `gate.allow_degraded`, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Capabilities => "capabilities",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// The layer of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }
}

impl Standing {
    pub(super) fn new(allowed: &[Layer]) -> Self {
        // Not root to begin with is as good as no longer root.
        let in_force =
            if rustix::process::geteuid().is_root() { vec![] } else { vec![Layer::User] };
        Self { allowed: allowed.to_vec(), in_force: Some(in_force), ..Self::default() }
    }

    /// Notes what became of a layer. One that could not be had ends the start, or is warned of.
    pub(super) fn apply(
        &mut self,
        layer: Layer,
        outcome: Result<(), String>,
    ) -> Result<(), ConfineError> {
        match outcome {
            Ok(()) => {
                let failed = self.degraded.iter().any(|(one, _)| *one == layer);
                let in_force = self.in_force.get_or_insert_default();
                if !failed && !in_force.contains(&layer) {
                    in_force.push(layer);
                }
                Ok(())
            }
            Err(why) if self.allowed.contains(&layer) => {
                tracing::warn!(
                    layer = layer.name(),
                    why,
                    "confined less, as the configuration allows"
                );
                self.in_force.get_or_insert_default().retain(|one| *one != layer);
                self.degraded.push((layer, why));
                Ok(())
            }
            Err(why) => Err(ConfineError::Layer { layer, why }),
        }
    }

    /// Each layer with its state: `in force`, `degraded: …` or `not asked for`.
    pub fn layers(&self) -> impl Iterator<Item = (Layer, String)> {
        Layer::ALL.into_iter().map(|layer| {
            let degraded = self.degraded.iter().find(|(one, _)| *one == layer);
            let text = match (&self.in_force, degraded) {
                (_, Some((_, why))) => format!("degraded: {why}"),
                (Some(layers), None) if layers.contains(&layer) => "in force".to_owned(),
                _ => "not asked for".to_owned(),
            };
            (layer, text)
        })
    }

    /// 1 for each layer in force.
    pub(crate) fn export(&self, registry: &Registry) -> Result<(), MetricError> {
        let Some(in_force) = &self.in_force else { return Ok(()) };
        let gauge = registry.gauge("gate_confinement", "Layers in force, 1 or 0", ["layer"])?;
        for layer in Layer::ALL {
            gauge.with([layer.name()]).set(i64::from(in_force.contains(&layer)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_fails_needs_its_word() {
        let mut strict = Standing::new(&[]);
        assert!(strict.apply(Layer::Landlock, Ok(())).is_ok());
        let error = strict.apply(Layer::Seccomp, Err("no".to_owned())).unwrap_err().to_string();
        assert!(error.contains("seccomp") && error.contains("gate.allow_degraded"), "{error}");
        let mut loose = Standing::new(&[Layer::Seccomp]);
        assert!(loose.apply(Layer::Seccomp, Err("no".to_owned())).is_ok());
        let seccomp = loose.layers().find(|(layer, _)| *layer == Layer::Seccomp).unwrap().1;
        assert_eq!(seccomp, "degraded: no");
        // The second half of a layer does not make up for the first.
        assert!(loose.apply(Layer::Seccomp, Ok(())).is_ok());
        assert_eq!(loose.layers().last().unwrap().1, "degraded: no");
        assert_eq!(Layer::find("landlock"), Some(Layer::Landlock));
    }
}
