// Whether what covers paths of /proc and /sys can be taken off, by all the ways there are to get a mount out of the way or to go round it.
#pragma once

/// uncover COVER…: one JSON object of lists, the ways that showed what is covered or made it writable, by cover.
int uncover(char** arguments);
