//! `/access/openid`: no realm of that kind exists here, so nobody comes back from one.

use crate::api::Call;
use crate::failure::{Failure, Outcome};

/// Whatever is wrong with state or code, Proxmox VE says only this (`PVE::API2::OpenId::login`).
pub(super) fn login(_: &mut Call<'_>) -> Outcome {
    Err(Failure::unauthorized("authentication failure"))
}
