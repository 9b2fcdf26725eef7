# Toolchain file: builds WASI 0.2 components with tools/wasi-cc.
#
#   cmake -S . -B build/wasip2 -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/wasip2.cmake
#
# Programs get poise by add_subdirectory(poise), or by find_package(poise) where `make install-wasip2` has put it, and
# link poise::poise. (Here wasi-cc adds none itself: poise is built with this file, too.)
set(POISE_WASI_TARGET wasm32-wasip2)
include("${CMAKE_CURRENT_LIST_DIR}/wasi.cmake")
