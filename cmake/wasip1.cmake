# Toolchain file: builds WASI 0.1 modules with tools/wasi-cc. See wasip2.cmake.
set(POISE_WASI_TARGET wasm32-wasip1)
include("${CMAKE_CURRENT_LIST_DIR}/wasi.cmake")
