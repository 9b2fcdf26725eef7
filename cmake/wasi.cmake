# What wasip1.cmake and wasip2.cmake share; they set POISE_WASI_TARGET.
list(APPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}") # for Platform/WASI.cmake, which CMake 3.25 lacks
set(CMAKE_SYSTEM_NAME WASI)
set(CMAKE_SYSTEM_PROCESSOR wasm32)

get_filename_component(poise_tools "${CMAKE_CURRENT_LIST_DIR}/../tools" ABSOLUTE)
set(CMAKE_C_COMPILER "${poise_tools}/wasi-cc" --no-poise)
set(CMAKE_C_COMPILER_TARGET "${POISE_WASI_TARGET}")
set(CMAKE_LIBRARY_ARCHITECTURE "${POISE_WASI_TARGET}") # find_package looks in PREFIX/lib/wasm32-wasip2/cmake/
if(NOT "$ENV{WASI_SDK_PATH}" STREQUAL "")
  set(CMAKE_AR "$ENV{WASI_SDK_PATH}/bin/llvm-ar")
  set(CMAKE_RANLIB "$ENV{WASI_SDK_PATH}/bin/llvm-ranlib")
else()
  find_program(CMAKE_AR NAMES llvm-ar-19 llvm-ar REQUIRED)
  find_program(CMAKE_RANLIB NAMES llvm-ranlib-19 llvm-ranlib REQUIRED)
endif()

# `ctest` and add_test() run programs through this.
set(CMAKE_CROSSCOMPILING_EMULATOR "${poise_tools}/wasi-run")

# Checks compile and do not link: that is quick, and a component for each would not be.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
