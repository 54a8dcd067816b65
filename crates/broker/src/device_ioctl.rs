//! ioctl on disks and the baseboard controller: what rustix does not have.
//!
//! The only `unsafe` of this crate. Each call hands the kernel one structure of this file, laid
//! out as its header says, whose pointers lead to buffers that outlive the call and are as long as
//! the structure says. The trait stands between them and the readers, so that recorded answers
//! test those.
#![expect(unsafe_code, reason = "four ioctl calls with structures of the kernel's headers")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest answer of the baseboard controller.
const IPMI_ANSWER: usize = 256;

/// Answers to earlier requests that are passed over.
const IPMI_LATE: usize = 8;

/// The number of the next request to the baseboard controller.
static NEXT: AtomicI32 = AtomicI32::new(1);

/// Longest time of a command to a disk, in milliseconds.
const DISK_MS: u32 = 5000;

/// Bytes of sense data.
pub(crate) const SENSE: usize = 32;

/// What a SCSI device answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScsiAnswer {
    /// 0: done; 2: the sense data says why not, or holds what was asked for.
    pub(crate) status: u8,
    /// Sense data.
    pub(crate) sense: [u8; SENSE],
    /// Bytes read.
    pub(crate) read: usize,
}

/// Commands to devices.
pub(crate) trait DeviceIoctl: Send + Sync {
    /// Reads a log page of an NVMe controller (Get Log Page, opcode 02h).
    fn nvme_log(&self, device: BorrowedFd<'_>, page: u8, out: &mut [u8; 512]) -> io::Result<()>;

    /// A SCSI command that reads into `out`, or has no data when that is empty. At most 16 bytes
    /// of command.
    fn scsi(&self, device: BorrowedFd<'_>, cdb: &[u8], out: &mut [u8]) -> io::Result<ScsiAnswer>;

    /// Asks the baseboard controller; the answer begins with the completion code.
    fn ipmi(
        &self,
        device: BorrowedFd<'_>,
        function: u8,
        command: u8,
        data: &[u8],
        within: Duration,
    ) -> io::Result<Vec<u8>>;
}

/// The kernel.
pub(crate) struct Kernel;

/// `struct nvme_passthru_cmd` (linux/nvme_ioctl.h), 72 bytes.
#[repr(C)]
#[derive(Default)]
struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

/// `NVME_IOCTL_ADMIN_CMD`
const NVME_ADMIN: libc::Ioctl = 0xC048_4E41_u32 as libc::Ioctl;

/// `struct sg_io_hdr` (scsi/sg.h).
#[repr(C)]
struct SgHeader {
    interface_id: libc::c_int,
    direction: libc::c_int,
    cmd_len: u8,
    mx_sb_len: u8,
    iovec_count: u16,
    dxfer_len: u32,
    dxferp: *mut libc::c_void,
    cmdp: *const u8,
    sbp: *mut u8,
    timeout: u32,
    flags: u32,
    pack_id: libc::c_int,
    usr_ptr: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    msg_status: u8,
    sb_len_wr: u8,
    host_status: u16,
    driver_status: u16,
    resid: libc::c_int,
    duration: u32,
    info: u32,
}

/// `SG_IO`
const SG_IO: libc::Ioctl = 0x2285;

/// `struct ipmi_system_interface_addr` (linux/ipmi.h).
#[repr(C)]
struct IpmiAddress {
    kind: libc::c_int,
    channel: libc::c_short,
    lun: u8,
}

/// `struct ipmi_msg`
#[repr(C)]
struct IpmiMessage {
    netfn: u8,
    cmd: u8,
    data_len: u16,
    data: *mut u8,
}

/// `struct ipmi_req`, 40 bytes.
#[repr(C)]
struct IpmiRequest {
    addr: *mut u8,
    addr_len: u32,
    msgid: libc::c_long,
    msg: IpmiMessage,
}

/// `struct ipmi_recv`, 48 bytes.
#[repr(C)]
struct IpmiReceive {
    recv_type: libc::c_int,
    addr: *mut u8,
    addr_len: u32,
    msgid: libc::c_long,
    msg: IpmiMessage,
}

/// `IPMICTL_SEND_COMMAND`, `IPMICTL_RECEIVE_MSG_TRUNC`
const IPMI_SEND: libc::Ioctl = 0x8028_690D_u32 as libc::Ioctl;
const IPMI_RECEIVE: libc::Ioctl = 0xC030_690B_u32 as libc::Ioctl;

const _: () = assert!(size_of::<NvmeCommand>() == 72);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(
    size_of::<IpmiRequest>() == 40 && size_of::<IpmiReceive>() == 48 && size_of::<SgHeader>() == 88
);

impl DeviceIoctl for Kernel {
    fn nvme_log(&self, device: BorrowedFd<'_>, page: u8, out: &mut [u8; 512]) -> io::Result<()> {
        let mut command = NvmeCommand {
            opcode: 0x02,
            nsid: u32::MAX,
            addr: ptr::from_mut(out).expose_provenance() as u64,
            data_len: 512,
            // Double words less one above the page's number.
            cdw10: 127 << 16 | u32::from(page),
            timeout_ms: DISK_MS,
            ..NvmeCommand::default()
        };
        // SAFETY: the structure is `nvme_passthru_cmd`; `addr` is `out`, `data_len` its length, to
        // which the kernel writes during the call only.
        done(unsafe { libc::ioctl(device.as_raw_fd(), NVME_ADMIN, &raw mut command) })
    }

    fn scsi(&self, device: BorrowedFd<'_>, cdb: &[u8], out: &mut [u8]) -> io::Result<ScsiAnswer> {
        let mut sense = [0; SENSE];
        let length = u32::try_from(out.len()).map_err(io::Error::other)?;
        let cmd_len = u8::try_from(cdb.len()).ok().filter(|length| (6..=16).contains(length));
        let mut header = SgHeader {
            interface_id: libc::c_int::from(b'S'),
            // SG_DXFER_NONE, SG_DXFER_FROM_DEV
            direction: if out.is_empty() { -1 } else { -3 },
            cmd_len: cmd_len.ok_or(io::ErrorKind::InvalidInput)?,
            mx_sb_len: 32,
            iovec_count: 0,
            dxfer_len: length,
            dxferp: out.as_mut_ptr().cast(),
            cmdp: cdb.as_ptr(),
            sbp: sense.as_mut_ptr(),
            timeout: DISK_MS,
            flags: 0,
            pack_id: 0,
            usr_ptr: ptr::null_mut(),
            status: 0,
            masked_status: 0,
            msg_status: 0,
            sb_len_wr: 0,
            host_status: 0,
            driver_status: 0,
            resid: 0,
            duration: 0,
            info: 0,
        };
        // SAFETY: the structure is `sg_io_hdr`; `dxferp`, `cmdp` and `sbp` are `out`, `cdb` and
        // `sense` with their lengths, which live until after the call.
        done(unsafe { libc::ioctl(device.as_raw_fd(), SG_IO, &raw mut header) })?;
        if header.host_status != 0 {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let missing = usize::try_from(header.resid).unwrap_or(0);
        Ok(ScsiAnswer { status: header.status, sense, read: out.len().saturating_sub(missing) })
    }

    fn ipmi(
        &self,
        device: BorrowedFd<'_>,
        function: u8,
        command: u8,
        data: &[u8],
        within: Duration,
    ) -> io::Result<Vec<u8>> {
        let mut data = data.to_vec();
        let length = u16::try_from(data.len()).map_err(io::Error::other)?;
        // IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL
        let mut address = IpmiAddress { kind: 0x0c, channel: 0x0f, lun: 0 };
        let msgid = libc::c_long::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut request = IpmiRequest {
            addr: (&raw mut address).cast(),
            addr_len: 8,
            msgid,
            msg: IpmiMessage {
                netfn: function,
                cmd: command,
                data_len: length,
                data: data.as_mut_ptr(),
            },
        };
        // SAFETY: the structure is `ipmi_req`; its pointers are `address` (8 bytes) and `data`,
        // which the kernel copies during the call.
        done(unsafe { libc::ioctl(device.as_raw_fd(), IPMI_SEND, &raw mut request) })?;
        // What comes too late for the request before is not the answer to this one.
        for _ in 0..IPMI_LATE {
            let answer = receive(device, &mut address, within)?;
            if answer.0 == msgid {
                return Ok(answer.1);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// The next answer of the baseboard controller, with the number of its request.
fn receive(
    device: BorrowedFd<'_>,
    address: &mut IpmiAddress,
    within: Duration,
) -> io::Result<(libc::c_long, Vec<u8>)> {
    let mut fds = [PollFd::from_borrowed_fd(device, PollFlags::IN)];
    let within = Timespec::try_from(within).map_err(io::Error::other)?;
    if poll(&mut fds, Some(&within))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut answer = vec![0; IPMI_ANSWER];
    let mut receive = IpmiReceive {
        recv_type: 0,
        addr: ptr::from_mut(address).cast(),
        addr_len: 8,
        msgid: 0,
        msg: IpmiMessage { netfn: 0, cmd: 0, data_len: 256, data: answer.as_mut_ptr() },
    };
    // SAFETY: the structure is `ipmi_recv`; its pointers are `address` (8 bytes) and `answer`
    // (256 bytes), and the kernel cuts what is longer.
    done(unsafe { libc::ioctl(device.as_raw_fd(), IPMI_RECEIVE, &raw mut receive) })?;
    answer.truncate(receive.msg.data_len.into());
    Ok((receive.msgid, answer))
}

fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        // A status of the device itself (NVMe).
        1.. => Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => Err(io::Error::last_os_error()),
    }
}
