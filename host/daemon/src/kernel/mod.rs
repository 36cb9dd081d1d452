//! Everything that reaches the kernel's packet filter.
