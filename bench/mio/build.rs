//! How it is linked: the allocator is counted (src/allocations.rs), and under WASI the stack is larger than usual, since
//! libc's poll(2), by which mio waits there, builds its lists on it.

fn main() {
    let wasi = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "wasi");
    for name in ["malloc", "calloc", "realloc"] {
        let prefix = if wasi { "" } else { "-Wl," };
        println!("cargo::rustc-link-arg-bins={prefix}--wrap={name}");
    }
    if wasi {
        println!("cargo::rustc-link-arg-bins=-zstack-size=8388608");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
