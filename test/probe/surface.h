// How much of the kernel can be reached from here, counted and named. It changes nothing: calls are stopped on their way by a filter of
// the prober's own, files and devices are only opened.
#pragma once

/// surface NUMBERS…: the numbers of the calls to try, of this machine's own ABI.
int surface(char** arguments);

/// Names what open(2) gives for writing below /proc and /sys, and every device below /dev.
void surface_files(void);
