# Headers of others that most sources of a kind include, parsed once per kind instead of once per source: two thirds of a build's time is parsing.
# A source still includes all that it uses; a build with -DSADDLE_PRECOMPILE=OFF shows it.
option(SADDLE_PRECOMPILE "Parse the headers of tools/cmake/precompiled once" ON)

if(SADDLE_PRECOMPILE AND SADDLE_CCACHE)
  # What ccache asks of precompiled headers; else it caches nothing that uses one.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${SADDLE_CCACHE})
endif()

# saddle_precompiled(NAME EXECUTABLE|LIBRARY [OPTIONS flags...] [LINK targets...]): the headers of precompiled/<NAME>.h for targets with these flags.
# Clang takes a precompiled header only with the code model it was made with, so programs and libraries have one each.
function(saddle_precompiled name kind)
  cmake_parse_arguments(ARG "" "" "OPTIONS;LINK" ${ARGN})
  if(NOT SADDLE_PRECOMPILE)
    return()
  endif()
  set(source ${CMAKE_BINARY_DIR}/precompiled/${name}.cpp)
  if(kind STREQUAL "EXECUTABLE")
    file(CONFIGURE OUTPUT ${source} CONTENT "int main() { return 0; }\n")
    add_executable(SaddlePrecompiled${name} ${source})
  else()
    file(CONFIGURE OUTPUT ${source} CONTENT "")
    add_library(SaddlePrecompiled${name} OBJECT ${source})
  endif()
  target_compile_options(SaddlePrecompiled${name} PRIVATE ${ARG_OPTIONS})
  target_link_libraries(SaddlePrecompiled${name} PRIVATE ${ARG_LINK})
  target_precompile_headers(SaddlePrecompiled${name} PRIVATE ${PROJECT_SOURCE_DIR}/tools/cmake/precompiled/${name}.h)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(SaddlePrecompiled${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
endfunction()

# saddle_use_precompiled(TARGET NAME)
function(saddle_use_precompiled target name)
  if(SADDLE_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM SaddlePrecompiled${name})
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
      target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
    endif()
  endif()
endfunction()
