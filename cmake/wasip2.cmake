# Toolchain file: builds WASI 0.2 components with tools/wasi-cc.
#
#   cmake -S . -B build/wasip2 -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/wasip2.cmake
#
# What it builds is not linked with the poise of this checkout (--no-poise): it is used to build that one.
set(POISE_WASI_TARGET wasm32-wasip2)
include("${CMAKE_CURRENT_LIST_DIR}/wasi.cmake")
