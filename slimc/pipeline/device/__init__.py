"""What the device takes: profiles, trtexec files, timed kernels."""
