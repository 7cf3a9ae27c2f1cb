/* SPDX-License-Identifier: MIT */
/* Writes JSON: commas, indentation, quotes. */
#include "json.h"

#include <stddef.h>
#include <stdio.h>

static unsigned int depth;
static bool first = true;

static void put_string(const char *text)
{
	const unsigned char *c;

	putchar('"');
	for (c = (const unsigned char *)text; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < ' ' || *c > '~')
			/* Names of kernels are ASCII; others stay valid. */
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

static void new_line(void)
{
	printf("\n%*s", (int)(2 * depth), "");
}

static void put_key(const char *key)
{
	if (!first)
		putchar(',');
	if (depth)
		new_line();
	first = false;
	if (!key)
		return;
	put_string(key);
	printf(": ");
}

static void begin(const char *key, char bracket)
{
	put_key(key);
	putchar(bracket);
	depth++;
	first = true;
}

static void end(char bracket)
{
	depth--;
	if (!first)
		new_line();
	putchar(bracket);
	first = false;
	if (!depth)
		putchar('\n');
}

void json_object(const char *key)
{
	begin(key, '{');
}

void json_object_end(void)
{
	end('}');
}

void json_list(const char *key)
{
	begin(key, '[');
}

void json_list_end(void)
{
	end(']');
}

void json_string(const char *key, const char *value)
{
	if (!value) {
		json_null(key);
		return;
	}
	put_key(key);
	put_string(value);
}

void json_number(const char *key, long long value)
{
	put_key(key);
	printf("%lld", value);
}

void json_real(const char *key, double value)
{
	put_key(key);
	printf("%.6g", value);
}

void json_bool(const char *key, bool value)
{
	put_key(key);
	printf(value ? "true" : "false");
}

void json_null(const char *key)
{
	put_key(key);
	printf("null");
}
