#include "settings.h"

#include <stdlib.h>
#include <string.h>

// Where reading is. Behind the end there are zeros, so looking at the next byte is always possible.
struct reader {
    const char *at;
};

static char next_token(struct reader *reader) {
    while (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\t' || *reader->at == '\r') {
        reader->at++;
    }
    return *reader->at;
}

static int accept(struct reader *reader, char token) {
    if (next_token(reader) != token) {
        return 0;
    }
    reader->at++;
    return 1;
}

// A string; the schema allows ASCII only, so every escape stands for one byte.
static char *read_string(struct reader *reader) {
    accept(reader, '"');
    const char *end = reader->at;
    while (*end && *end != '"') {
        end += *end == '\\' && end[1] ? 2 : 1;
    }
    char *text = malloc((size_t)(end - reader->at) + 1);
    char *to = text;
    for (const char *from = reader->at; from < end;) {
        if (*from != '\\') {
            *to++ = *from++;
        } else if (from[1] == 'u') {
            char digits[5] = {0};
            memcpy(digits, from + 2, 4);
            *to++ = (char)strtol(digits, NULL, 16);
            from += 6;
        } else {
            *to++ = from[1];
            from += 2;
        }
    }
    *to = 0;
    reader->at = *end ? end + 1 : end;
    return text;
}

static uint16_t read_number(struct reader *reader) {
    next_token(reader);
    char *end;
    long number = strtol(reader->at, &end, 10);
    reader->at = end;
    return (uint16_t)number;
}

// Room for one element more; an array doubles when it is full.
static void *grown(void *array, size_t count, size_t size) {
    return count & (count - 1) ? array : realloc(array, (count ? 2 * count : 1) * size);
}

struct settings settings_read(const char *json, size_t length) {
    char *copy = calloc(length + 8, 1);
    memcpy(copy, json, length);
    struct reader reader = {copy};
    struct settings settings = {.log_prefix = "host-firewall: "};
    accept(&reader, '{');
    while (next_token(&reader) == '"') {
        char *key = read_string(&reader);
        accept(&reader, ':');
        if (strcmp(key, "log-prefix") == 0) {
            settings.log_prefix = read_string(&reader);
        } else {
            accept(&reader, '[');
            while (next_token(&reader) && *reader.at != ']') {
                if (strcmp(key, "admit") == 0) {
                    settings.admit = grown(settings.admit, settings.admit_count, sizeof *settings.admit);
                    settings.admit[settings.admit_count++] = read_string(&reader);
                } else {
                    settings.ports = grown(settings.ports, settings.port_count, sizeof *settings.ports);
                    settings.ports[settings.port_count++] = read_number(&reader);
                }
                accept(&reader, ',');
            }
            accept(&reader, ']');
        }
        free(key);
        accept(&reader, ',');
    }
    free(copy);
    return settings;
}
