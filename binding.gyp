{
  "includes": ["addon/sources.gypi"],
  "target_defaults": {
    "include_dirs": ["include"],
    "defines": ["_GNU_SOURCE", "_FILE_OFFSET_BITS=64"],
    "cflags": ["-Wall", "-Wextra", "-Wno-restrict", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
  },
  "targets": [
    {
      "target_name": "caisson-monitor",
      "type": "executable",
      "sources": ["<@(base_sources)", "<@(kernel_sources)", "<@(monitor_sources)"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=gnu++20", "-Os", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
      "ldflags": ["-static", "-s", "-Wl,--gc-sections"],
      "ldflags!": ["-rdynamic", "-pthread"]
    },
    {
      "target_name": "caisson",
      "dependencies": ["caisson-monitor"],
      "sources": ["<@(base_sources)", "<@(seccomp_sources)", "<@(binding_sources)"],
      "include_dirs": ["<(PRODUCT_DIR)", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=gnu++20"],
      "libraries": ["-l:libseccomp.a"],
      "ldflags": ["-Wl,--exclude-libs,ALL", "-Wl,--gc-sections"],
      "actions": [
        {
          "action_name": "embed_monitor",
          "message": "embedding caisson-monitor",
          "inputs": ["<@(embed_sources)", "<(PRODUCT_DIR)/caisson-monitor"],
          "outputs": ["<(INTERMEDIATE_DIR)/embedded.S"],
          "action": ["cp", "<@(embed_sources)", "<(INTERMEDIATE_DIR)/embedded.S"],
          "process_outputs_as_sources": 1
        }
      ]
    }
  ]
}
