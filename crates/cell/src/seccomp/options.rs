//! Requests of ioctl, fcntl, prctl and socket options that a cell may use. Linux, x86-64.
//!
//! Each list is exact: the kernel reads the lower 32 bits of these arguments, and so does the
//! filter, so no spelling with high bits set passes as something else.

/// fcntl: descriptors, flags and locks; no signal-driven I/O (F_SETOWN), no leases, no pipe sizes.
pub(super) const FCNTL: [u32; 12] = [
    0,    // F_DUPFD
    1,    // F_GETFD
    2,    // F_SETFD
    3,    // F_GETFL
    4,    // F_SETFL
    5,    // F_GETLK
    6,    // F_SETLK
    7,    // F_SETLKW
    36,   // F_OFD_GETLK
    37,   // F_OFD_SETLK
    38,   // F_OFD_SETLKW
    1030, // F_DUPFD_CLOEXEC
];

/// ioctl: non-blocking, close-on-exec, bytes waiting; is it a terminal, and how wide.
pub(super) const IOCTL: [u32; 6] = [
    0x5421, // FIONBIO
    0x5450, // FIONCLEX
    0x5451, // FIOCLEX
    0x541b, // FIONREAD
    0x5401, // TCGETS: isatty(3); standard streams are pipes, so the answer is no
    0x5413, // TIOCGWINSZ
];

/// prctl: names of threads and of memory.
pub(super) const PRCTL: [u32; 3] = [
    15,          // PR_SET_NAME
    16,          // PR_GET_NAME
    0x5356_4d41, // PR_SET_VMA
];

/// arch_prctl: the thread pointer, set by the C library for each thread.
pub(super) const ARCH_PRCTL: [u32; 3] = [
    0x1002, // ARCH_SET_FS
    0x1003, // ARCH_GET_FS
    0x1004, // ARCH_GET_GS
];

/// Options of a socket that may be set, by level. Nothing that binds to a device, marks packets,
/// joins a group, attaches a program, defers a connect or loads another protocol.
pub(super) const SET_SOCKET: [(u32, &[u32]); 4] = [
    (
        1, // SOL_SOCKET
        &[
            2,  // SO_REUSEADDR
            6,  // SO_BROADCAST
            7,  // SO_SNDBUF
            8,  // SO_RCVBUF
            9,  // SO_KEEPALIVE
            13, // SO_LINGER
            20, // SO_RCVTIMEO
            21, // SO_SNDTIMEO
        ],
    ),
    (
        6, // IPPROTO_TCP
        &[
            1,  // TCP_NODELAY
            3,  // TCP_CORK
            4,  // TCP_KEEPIDLE
            5,  // TCP_KEEPINTVL
            6,  // TCP_KEEPCNT
            12, // TCP_QUICKACK
            18, // TCP_USER_TIMEOUT
        ],
    ),
    (
        0, // IPPROTO_IP
        &[
            1,  // IP_TOS
            2,  // IP_TTL
            11, // IP_RECVERR
            33, // IP_MULTICAST_TTL
            34, // IP_MULTICAST_LOOP
        ],
    ),
    (
        41, // IPPROTO_IPV6
        &[
            16, // IPV6_UNICAST_HOPS
            18, // IPV6_MULTICAST_HOPS
            19, // IPV6_MULTICAST_LOOP
            25, // IPV6_RECVERR
            26, // IPV6_V6ONLY
        ],
    ),
];

/// Options of a socket that may be read, by level.
pub(super) const GET_SOCKET: [(u32, &[u32]); 2] = [
    (
        1, // SOL_SOCKET
        &[
            2,  // SO_REUSEADDR
            3,  // SO_TYPE
            4,  // SO_ERROR
            7,  // SO_SNDBUF
            8,  // SO_RCVBUF
            9,  // SO_KEEPALIVE
            13, // SO_LINGER
            30, // SO_ACCEPTCONN
            38, // SO_PROTOCOL
            39, // SO_DOMAIN
        ],
    ),
    (
        6, // IPPROTO_TCP
        &[
            1,  // TCP_NODELAY
            11, // TCP_INFO
        ],
    ),
];
