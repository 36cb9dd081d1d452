// The settings, read from JSON. The host has checked them by the schema, so they are known to fit it.
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stddef.h>
#include <stdint.h>

struct settings {
    char **admit; // addresses and networks, as text
    size_t admit_count;
    uint16_t *ports;
    size_t port_count;
    const char *log_prefix;
};

// Reads `length` bytes of JSON.
struct settings settings_read(const char *json, size_t length);

#endif
