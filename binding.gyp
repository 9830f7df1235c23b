{
  "variables": { "openblas_static%": "false", "openblas_lib%": "-lopenblas" },
  "targets": [{
    "target_name": "deep_hessian",
    "sources": ["<!@(node -p \"require('fs').readFileSync('native/sources.txt','utf8').trim().split(/\\s+/).join(' ')\")"],
    "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    "cflags!": ["-fno-exceptions"], "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "cflags": ["-fvisibility=hidden"],
    "cflags_cc": ["-std=c++17", "-O3", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-Wall", "-Wextra", "-ffp-contract=fast", "-fno-math-errno"],
    "conditions": [
      ["OS=='linux'", { "ldflags": ["-Wl,--exclude-libs,ALL", "-Wl,--version-script=<(module_root_dir)/native/exports.map", "-Wl,--gc-sections"], "libraries": ["-ldl", "-lpthread"] }],
      ["openblas_static=='true'", { "sources": ["native/gfortran_shim.c"], "libraries": ["<!(node scripts/openblas-a.cjs)", "-lm", "-lpthread"] },
        { "libraries": ["<(openblas_lib)"] }],
      ["OS=='mac'", { "xcode_settings": { "GCC_ENABLE_CPP_EXCEPTIONS": "YES", "CLANG_CXX_LANGUAGE_STANDARD": "c++17", "MACOSX_DEPLOYMENT_TARGET": "11.0", "GCC_SYMBOLS_PRIVATE_EXTERN": "YES" } }]
    ]
  }]
}
