//! Calls of the C library's allocator. The linker (`--wrap`) sends them here: Rust's own, and under WASI, where the library
//! is linked in, also the library's and those for the host's results. The C peers are counted in the same way.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static CALLS: AtomicU64 = AtomicU64::new(0);

pub fn calls() -> u64 {
    CALLS.load(Relaxed)
}

unsafe extern "C" {
    fn __real_malloc(size: usize) -> *mut c_void;
    fn __real_calloc(n: usize, size: usize) -> *mut c_void;
    fn __real_realloc(block: *mut c_void, size: usize) -> *mut c_void;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_malloc(size: usize) -> *mut c_void {
    CALLS.fetch_add(1, Relaxed);
    unsafe { __real_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_calloc(n: usize, size: usize) -> *mut c_void {
    CALLS.fetch_add(1, Relaxed);
    unsafe { __real_calloc(n, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    CALLS.fetch_add(1, Relaxed);
    unsafe { __real_realloc(block, size) }
}
