/* SPDX-License-Identifier: MIT
 *
 * What a host says, as errno values, and the component type of all this: the section comes with the object, and the
 * object with whatever calls one of host.h's imports. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>

#include "component_type.h"

static void free_string(const struct host_option_string *string)
{
    if (string->is_some && string->value.size > 0)
        free(string->value.at);
}

static void free_payload(const struct host_error_code *error)
{
    switch (error->code) {
    case HTTP_DNS_ERROR: free_string(&error->of.dns.rcode); break;
    case HTTP_TLS_ALERT_RECEIVED: free_string(&error->of.alert.message); break;
    case HTTP_REQUEST_HEADER_SIZE:
        if (error->of.option_field.is_some)
            free_string(&error->of.option_field.value.name);
        break;
    case HTTP_REQUEST_TRAILER_SIZE:
    case HTTP_RESPONSE_HEADER_SIZE:
    case HTTP_RESPONSE_TRAILER_SIZE: free_string(&error->of.field.name); break;
    case HTTP_RESPONSE_TRANSFER_CODING:
    case HTTP_RESPONSE_CONTENT_CODING:
    case HTTP_INTERNAL_ERROR: free_string(&error->of.string); break;
    default: break;
    }
}

int poise__http_error(const struct host_error_code *error)
{
    free_payload(error);
    switch (error->code) {
    case HTTP_DNS_ERROR:
    case HTTP_DESTINATION_NOT_FOUND: return -ENOENT;
    case HTTP_DNS_TIMEOUT:
    case HTTP_CONNECTION_TIMEOUT:
    case HTTP_CONNECTION_READ_TIMEOUT:
    case HTTP_CONNECTION_WRITE_TIMEOUT:
    case HTTP_RESPONSE_TIMEOUT: return -ETIMEDOUT;
    case HTTP_DESTINATION_UNAVAILABLE:
    case HTTP_DESTINATION_IP_UNROUTABLE: return -EHOSTUNREACH;
    case HTTP_CONNECTION_REFUSED: return -ECONNREFUSED;
    case HTTP_CONNECTION_TERMINATED:
    case HTTP_RESPONSE_INCOMPLETE: return -ECONNRESET;
    case HTTP_CONNECTION_LIMIT_REACHED: return -EMFILE;
    case HTTP_DESTINATION_IP_PROHIBITED:
    case HTTP_REQUEST_DENIED: return -EACCES;
    case HTTP_REQUEST_METHOD_INVALID:
    case HTTP_REQUEST_URI_INVALID:
    case HTTP_REQUEST_LENGTH_REQUIRED: return -EINVAL;
    case HTTP_REQUEST_BODY_SIZE:
    case HTTP_REQUEST_URI_TOO_LONG:
    case HTTP_REQUEST_HEADER_SECTION_SIZE:
    case HTTP_REQUEST_HEADER_SIZE:
    case HTTP_REQUEST_TRAILER_SECTION_SIZE:
    case HTTP_REQUEST_TRAILER_SIZE:
    case HTTP_RESPONSE_HEADER_SECTION_SIZE:
    case HTTP_RESPONSE_HEADER_SIZE:
    case HTTP_RESPONSE_BODY_SIZE:
    case HTTP_RESPONSE_TRAILER_SECTION_SIZE:
    case HTTP_RESPONSE_TRAILER_SIZE: return -EMSGSIZE;
    case HTTP_TLS_PROTOCOL_ERROR:
    case HTTP_TLS_CERTIFICATE_ERROR:
    case HTTP_TLS_ALERT_RECEIVED:
    case HTTP_RESPONSE_TRANSFER_CODING:
    case HTTP_RESPONSE_CONTENT_CODING:
    case HTTP_UPGRADE_FAILED:
    case HTTP_PROTOCOL_ERROR: return -EPROTO;
    case HTTP_LOOP_DETECTED: return -ELOOP;
    default: return -EIO; /* configuration-error, internal-error */
    }
}
