#include "json.h"

#include <stdio.h>
#include <string.h>

static bool first = true;

static void quoted(const char* text) {
  putchar('"');
  for (const unsigned char* at = (const unsigned char*)text; *at; at++) {
    if (*at == '"' || *at == '\\') putchar('\\'), putchar(*at);
    else if (*at < 0x20 || *at >= 0x7f) printf("\\u%04x", *at);  // bytes, as Latin-1: whatever they are, the output is JSON
    else putchar(*at);
  }
  putchar('"');
}

static void begin(const char* name) {
  if (!first) putchar(',');
  first = false;
  if (name) quoted(name), putchar(':');
}

void json_open(const char* name, char bracket) {
  begin(name);
  putchar(bracket);
  first = true;
}

void json_close(char bracket) {
  putchar(bracket);
  first = false;
}

void json_string(const char* name, const char* value) {
  begin(name);
  if (value) quoted(value);
  else fputs("null", stdout);
}

void json_number(const char* name, long long value) {
  begin(name);
  printf("%lld", value);
}

void json_bool(const char* name, bool value) {
  begin(name);
  fputs(value ? "true" : "false", stdout);
}

void json_errno(const char* name, int number) {
  json_string(name, number == 0 ? NULL : strerrorname_np(number));
}
