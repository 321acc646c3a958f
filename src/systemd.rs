//! The systemd protocol: READY, STATUS, RELOADING, STOPPING, the watchdog, passed sockets and credentials.
//! Never logs a credential; does nothing at all when the agent is not run by systemd.
