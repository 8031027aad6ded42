// One JSON value on stdout, written as it goes: names and strings are escaped, commas come by themselves.
#pragma once

#include <stdbool.h>

void json_open(const char* name, char bracket);   // '{' or '['; the name is NULL inside a list
void json_close(char bracket);                    // '}' or ']'
void json_string(const char* name, const char* value);  // NULL is null
void json_number(const char* name, long long value);
void json_bool(const char* name, bool value);
void json_errno(const char* name, int number);    // its name, "EPERM"; null for 0
