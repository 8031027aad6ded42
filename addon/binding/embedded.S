// The static monitor's bytes, carried inside the addon; found through the include path in the build directory.
    .section .rodata
    .global caisson_monitor_start
    .global caisson_monitor_end
    .hidden caisson_monitor_start
    .hidden caisson_monitor_end
    .balign 4096
caisson_monitor_start:
    .incbin "caisson-monitor"
caisson_monitor_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
