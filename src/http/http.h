/* SPDX-License-Identifier: MIT
 *
 * Between http.c, which knows no platform, and the platforms: native/curl.c, wasip2/wasi.c, wasip1/none.c. */
#ifndef POISE_HTTP_STATE_H
#define POISE_HTTP_STATE_H

#include <poise/http.h>

/* Header lines, in order: pairs of strings, one behind the other in one block. */
struct fields {
    char *text;
    size_t size, capacity;
    size_t *names; /* where the name of each begins; the value is behind it */
    size_t n, room;
    bool left_out; /* the last one was: what is folded behind it is, too */
};

/* What a URL says: strings of the start call's own. */
struct target {
    bool https;
    char *authority; /* host, and :port unless it is the scheme's own */
    char *path;      /* with the query; "/" at least */
};

/* What poise_http points to. */
struct http {
    poise *queue;
    void *data;
    poise_timer timer;
    uint64_t deadline_ns;                     /* UINT64_MAX: none */
    uint64_t first_byte_ns, between_bytes_ns; /* 0: no limit */
    uint64_t since;       /* when the start, the head or the last bytes came: from there the limits count */
    uint64_t platform_ns; /* when the platform wants to be called; UINT64_MAX: not for the time */
    uint64_t body_size;   /* of the request; POISE_HTTP_UNKNOWN */
    uint64_t sent;        /* of that */
    bool finished;        /* the request's body */
    bool paused;
    bool ended; /* the response's body and trailers have been taken */
    bool late;  /* a limit had passed in the last call: so it has if the next one finds nothing either */
    int status; /* 0: not taken yet */
    int error;  /* 0, or what every call returns from now on */
    struct fields headers, trailers;
    struct platform *platform; /* the platform's own part */
};

/* The request fails: nothing of it stays in the queue, and every call returns the error. Returns it. */
int poise__http_fail(struct http *http, int error);

bool poise__http_same(const char *a, const char *b); /* equal but for the case of ASCII letters */
bool poise__http_is_token(const char *text);         /* RFC 9110, 5.6.2: names of methods and headers */

/* Appends a line; the name becomes lower case. A name of no bytes: adds to the value of the last line (obs-fold).
 * Headers that concern the connection (RFC 9110, 7.6.1) are left out, as hosts do. 0 or -ENOMEM. */
int poise__http_fields_add(struct fields *fields, const char *name, size_t name_size, const char *value,
                           size_t value_size);
bool poise__http_fields_get(const struct fields *fields, size_t index, poise_http_header *header);
void poise__http_fields_free(struct fields *fields);

/* 0, -EINVAL or -ENOMEM. Both strings are then to be freed (one block: `authority`). */
int poise__http_parse_url(const char *url, struct target *target);
/* 0 or -EINVAL: the method, and the headers. */
int poise__http_check_options(const poise_http_options *options);
/* Whether the request says a Content-Length: with every method but GET and HEAD, and with those if there is a body. */
bool poise__http_says_length(const poise_http_options *options);

/* ---- what a platform has ----------------------------------------------------------------------------------------- */

/* Sends the request off; makes http->platform. On failure nothing is left. */
int poise__http_platform_open(struct http *http, const struct target *target, const poise_http_options *options);
/* All of these may fail the request. size > 0, and no more than body_size. */
ptrdiff_t poise__http_platform_send(struct http *http, const void *bytes, size_t size);
int poise__http_platform_finish(struct http *http);
/* The head is there: fills in status and headers, and returns 0; -EAGAIN. */
int poise__http_platform_head(struct http *http);
/* After the head. 0: the end; the trailers are filled in. */
ptrdiff_t poise__http_platform_recv(struct http *http, void *bytes, size_t size);
void poise__http_platform_pause(struct http *http); /* http->paused has changed */
void poise__http_platform_close(struct http *http); /* frees http->platform; NULL: nothing */

#endif
