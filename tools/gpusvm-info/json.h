/* SPDX-License-Identifier: MIT */
/* Writes JSON to standard output.  A key is NULL within a list. */
#ifndef GPUSVM_INFO_JSON_H
#define GPUSVM_INFO_JSON_H

#include <stdbool.h>

void json_object(const char *key);
void json_object_end(void);
void json_list(const char *key);
void json_list_end(void);
void json_string(const char *key, const char *value); /* NULL gives null */
void json_number(const char *key, long long value);
void json_real(const char *key, double value);
void json_bool(const char *key, bool value);
void json_null(const char *key);

#endif /* GPUSVM_INFO_JSON_H */
