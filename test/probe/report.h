// What a process can see of itself, as one JSON object on one line of stdout.
#pragma once

void report(int count, char** arguments);
