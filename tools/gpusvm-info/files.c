/* SPDX-License-Identifier: MIT */
/* Small files of /proc and /sys. */
#include "files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t n;

	text[0] = '\0';
	if (!file)
		return false;
	n = fread(text, 1, size - 1, file);
	fclose(file);
	while (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return true;
}

long read_number(const char *path)
{
	char text[64];
	char *end;
	long number;

	if (!read_text(path, text, sizeof(text)))
		return -1;
	number = strtol(text, &end, 10);
	return end == text ? -1 : number;
}

void read_choice(const char *path, char *word, size_t size)
{
	char *start, *end;

	read_text(path, word, size);
	start = strchr(word, '[');
	end = start ? strchr(start, ']') : NULL;
	if (!end)
		return;
	*end = '\0';
	memmove(word, start + 1, (size_t)(end - start));
}

bool find_field(const char *path, const char *name, char *value, size_t size)
{
	FILE *file = fopen(path, "re");
	bool found = false;
	char *line = NULL;
	const char *text;
	size_t room = 0;

	if (!file)
		return false;
	while (!found && getline(&line, &room, file) > 0) {
		text = strstr(line, name);
		if (!text)
			continue;
		text += strlen(name);
		text += strspn(text, " \t");
		snprintf(value, size, "%.*s", (int)strcspn(text, "\n"), text);
		found = true;
	}
	free(line);
	fclose(file);
	return found;
}
