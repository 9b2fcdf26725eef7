/* SPDX-License-Identifier: MIT
 *
 * What a request is made of, checked before any platform sees it, so that all refuse the same; and lists of headers. */
#include "http.h"

#include <errno.h>
#include <poise/net.h>
#include <stdlib.h>
#include <string.h>

/* ---- characters (no <ctype.h>: that asks the locale) ------------------------------------------------------------- */

static bool is_one_of(char c, const char *set) { return c != '\0' && strchr(set, c) != NULL; }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alphanumeric(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }
static bool is_hexadecimal(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f'); }

bool poise__http_same(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

bool poise__http_is_token(const char *text)
{
    size_t n = 0;
    while (is_alphanumeric(text[n]) || is_one_of(text[n], "!#$%&'*+-.^_`|~"))
        n++;
    return n > 0 && text[n] == '\0';
}

/* RFC 9110, 5.5: visible characters, and blanks between them. Bytes beyond ASCII are nobody's business. */
static bool is_value(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return n == 0 || (!is_one_of(text[0], " \t") && !is_one_of(text[n - 1], " \t"));
}

/* ---- the URL (RFC 3986, RFC 9110 4.2) ---------------------------------------------------------------------------- */

enum { MOST_URL = 60000 /* wasmtime's limit is 65,534 */ };

static bool is_ipv6(const char *text, size_t size)
{
    char literal[POISE_ADDRESS_TEXT];
    poise_address address;
    if (size >= sizeof literal)
        return false;
    memcpy(literal, text, size);
    literal[size] = '\0';
    return poise_address_parse(&address, literal, 0) == 0 && address.storage.ss_family == AF_INET6;
}

static size_t host_size(const char *text)
{
    size_t n = 0;
    if (text[0] == '[') {
        do
            n++;
        while (is_hexadecimal(text[n]) || is_one_of(text[n], ":."));
        return text[n] == ']' && is_ipv6(text + 1, n - 1) ? n + 1 : 0;
    }
    while (is_alphanumeric(text[n]) || is_one_of(text[n], "-._~"))
        n++;
    return n;
}

static size_t path_size(const char *text)
{
    size_t n = 0;
    for (;;) {
        if (text[n] == '%' && is_hexadecimal(text[n + 1]) && is_hexadecimal(text[n + 2]))
            n += 3;
        else if (is_alphanumeric(text[n]) || is_one_of(text[n], "-._~!$&'()*+,;=:@/?"))
            n++;
        else
            return n;
    }
}

int poise__http_parse_url(const char *url, struct target *target)
{
    size_t size = strlen(url);
    char scheme[9];
    if (size > MOST_URL)
        return -EINVAL;
    strncpy(scheme, url, sizeof scheme - 1);
    scheme[sizeof scheme - 1] = '\0';
    target->https = poise__http_same(scheme, "https://");
    scheme[7] = '\0';
    if (!target->https && !poise__http_same(scheme, "http://"))
        return -EINVAL;

    const char *host = url + (target->https ? 8 : 7);
    size_t n = host_size(host);
    const char *rest = host + n;
    unsigned long port = 0;
    if (n == 0)
        return -EINVAL;
    if (*rest == ':') {
        char *end = NULL;
        if (!is_digit(rest[1]))
            return -EINVAL;
        port = strtoul(rest + 1, &end, 10);
        if (port == 0 || port > 65535)
            return -EINVAL;
        if (port != (target->https ? 443 : 80))
            n = (size_t)(end - host);
        rest = end;
    }
    size_t path = *rest == '/' || *rest == '?' ? path_size(rest) : 0;
    if (rest[path] != '\0' && rest[path] != '#')
        return -EINVAL;

    char *block = malloc(n + 1 + 1 + path + 1);
    if (block == NULL)
        return -ENOMEM;
    target->authority = block;
    memcpy(block, host, n);
    block[n] = '\0';
    target->path = block + n + 1;
    block = target->path;
    if (*rest != '/')
        *block++ = '/';
    memcpy(block, rest, path);
    block[path] = '\0';
    return 0;
}

/* ---- method and headers ------------------------------------------------------------------------------------------ */

/* Of the connection, not of the message (RFC 9110, 7.6.1): wasmtime sends and shows none of these. */
static bool is_of_connection(const char *name)
{
    static const char *const names[] = { "connection",          "http2-settings",
                                         "keep-alive",          "proxy-authenticate",
                                         "proxy-authorization", "proxy-connection",
                                         "transfer-encoding",   "upgrade" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (poise__http_same(name, names[i]))
            return true;
    }
    return false;
}

/* Those that the library makes itself, or has no use for. */
static bool is_own_header(const char *name)
{
    return is_of_connection(name) || poise__http_same(name, "content-length") || poise__http_same(name, "expect") ||
           poise__http_same(name, "host") || poise__http_same(name, "te") || poise__http_same(name, "trailer");
}

static const char *method_of(const poise_http_options *options)
{
    return options->method == NULL ? "GET" : options->method;
}

int poise__http_check_options(const poise_http_options *options)
{
    const char *method = method_of(options);
    if (!poise__http_is_token(method) || strcmp(method, "CONNECT") == 0)
        return -EINVAL;
    bool has_none = strcmp(method, "HEAD") == 0 || strcmp(method, "TRACE") == 0;
    if (options->body_size != 0 && has_none)
        return -EINVAL;
    /* Whose bodies mean nothing (RFC 9110, 9.3): without a size hyper (wasmtime) sends none with the first one, and
     * Node (jco) none with all three. */
    bool needs_size = strcmp(method, "GET") == 0 || strcmp(method, "DELETE") == 0 || strcmp(method, "OPTIONS") == 0;
    if (options->body_size == POISE_HTTP_UNKNOWN && needs_size)
        return -EINVAL;
    if (options->body_size > INT64_MAX && options->body_size != POISE_HTTP_UNKNOWN)
        return -EINVAL; /* curl counts so */
    if (options->n_headers > 0 && options->headers == NULL)
        return -EINVAL;
    for (size_t i = 0; i < options->n_headers; i++) {
        const poise_http_header *header = &options->headers[i];
        if (header->name == NULL || header->value == NULL || !poise__http_is_token(header->name) ||
            !is_value(header->value) || is_own_header(header->name))
            return -EINVAL;
    }
    return 0;
}

bool poise__http_says_length(const poise_http_options *options)
{
    const char *method = method_of(options);
    if (options->body_size == 0)
        return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "TRACE") != 0;
    return options->body_size != POISE_HTTP_UNKNOWN;
}

/* ---- lists of headers -------------------------------------------------------------------------------------------- */

/* The block, moved if it has to grow; NULL: there is no memory, and the block is as it was. */
static void *grown(void *block, size_t *capacity, size_t needed, size_t unit)
{
    size_t larger = *capacity == 0 ? 16 : *capacity;
    while (larger < needed)
        larger *= 2;
    if (larger == *capacity)
        return block;
    void *moved = realloc(block, larger * unit);
    if (moved != NULL)
        *capacity = larger;
    return moved;
}

int poise__http_fields_add(struct fields *fields, const char *name, size_t name_size, const char *value,
                           size_t value_size)
{
    char *text = grown(fields->text, &fields->capacity, fields->size + name_size + value_size + 2, 1);
    if (text == NULL)
        return -ENOMEM;
    fields->text = text;
    size_t *names = grown(fields->names, &fields->room, fields->n + 1, sizeof *names);
    if (names == NULL)
        return -ENOMEM;
    fields->names = names;
    char *at = fields->text + fields->size;
    if (name_size > 0) {
        for (size_t i = 0; i < name_size; i++)
            *at++ = lower(name[i]);
        *at++ = '\0';
        fields->left_out = is_of_connection(fields->text + fields->size);
        if (fields->left_out)
            return 0;
        fields->names[fields->n++] = fields->size;
    } else if (fields->n > 0 && !fields->left_out) {
        at[-1] = ' ';
    } else {
        return 0; /* nothing to add to */
    }
    memcpy(at, value, value_size);
    at += value_size;
    *at++ = '\0';
    fields->size = (size_t)(at - fields->text);
    return 0;
}

bool poise__http_fields_get(const struct fields *fields, size_t index, poise_http_header *header)
{
    if (index >= fields->n || header == NULL)
        return false;
    header->name = fields->text + fields->names[index];
    header->value = header->name + strlen(header->name) + 1;
    return true;
}

void poise__http_fields_free(struct fields *fields)
{
    free(fields->text);
    free(fields->names);
    *fields = (struct fields){ 0 };
}
