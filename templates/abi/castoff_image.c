/* castoff_image.c: finds the file this library was loaded from and maps the weights that lie behind its ELF image.
 *
 *     [ELF] [zeros to 4096] [weights] [manifest, JSON] [castoff_footer]
 *
 * Mapped shared and read-only: processes that load one artefact share its pages, and nothing is read before it is used.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "castoff_internal.h"
#include "castoff_watch.h"

/* Little-endian, at the very end of the file; castoff.runtime.manifest reads and writes the same. */
typedef struct castoff_footer {
  char magic[8];
  uint32_t abi_major;
  uint32_t abi_minor;
  uint64_t weights_offset;
  uint64_t weights_size;
  uint64_t manifest_offset;
  uint64_t manifest_size;
  uint64_t file_size;
  uint32_t manifest_crc32;
  uint32_t footer_crc32; /* of the bytes before it */
} castoff_footer;

_Static_assert(sizeof(castoff_footer) == 64, "the footer is a file format");
_Static_assert(offsetof(castoff_footer, footer_crc32) == 60, "the footer is a file format");
#if defined(__BYTE_ORDER__)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "artefacts are little-endian");
#endif

static const char footer_magic[8] = {'C', 'S', 'T', 'O', 'F', 'F', '\r', '\n'};

static uint32_t crc32_of(const unsigned char *bytes, size_t size) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static int read_footer(int file, uint64_t file_size, castoff_footer *footer) {
  if (file_size < sizeof(*footer)) return 0;
  if (pread(file, footer, sizeof(*footer), (off_t)(file_size - sizeof(*footer))) != (ssize_t)sizeof(*footer)) return 0;
  return memcmp(footer->magic, footer_magic, sizeof(footer_magic)) == 0 &&
         crc32_of((const unsigned char *)footer, offsetof(castoff_footer, footer_crc32)) == footer->footer_crc32 &&
         footer->file_size == file_size && footer->weights_offset <= file_size &&
         footer->weights_size <= file_size - footer->weights_offset;
}

static void map_weights(castoff_image *image, int file, const char *path) {
  struct stat status;
  castoff_footer footer;
  if (fstat(file, &status) != 0 || status.st_size < 0 || !read_footer(file, (uint64_t)status.st_size, &footer)) {
    snprintf(image->error, sizeof(image->error),
             "%.800s has lost what castoff appended to it (was it stripped, truncated or relinked?)", path);
    return;
  }
  image->weights_size_bytes = footer.weights_size;
  if (footer.weights_size == 0) return;
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  const uint64_t lead = footer.weights_offset % page;
  void *mapped = mmap(NULL, (size_t)(footer.weights_size + lead), PROT_READ, MAP_SHARED, file,
                      (off_t)(footer.weights_offset - lead));
  if (mapped == MAP_FAILED) {
    snprintf(image->error, sizeof(image->error), "cannot map the weights of %.800s: %s", path, strerror(errno));
    return;
  }
  image->weights = (const unsigned char *)mapped + lead;
}

void castoff_image_map(castoff_image *image) {
  Dl_info info;
  char path[PATH_MAX];
  memset(image, 0, sizeof(*image));
  if (dladdr((const void *)&footer_magic, &info) == 0 || info.dli_fname == NULL || !realpath(info.dli_fname, path)) {
    snprintf(image->error, sizeof(image->error), "cannot find the file this library was loaded from");
    return;
  }
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    snprintf(image->error, sizeof(image->error), "cannot open %.800s: %s", path, strerror(errno));
    return;
  }
  map_weights(image, file, path);
  close(file);
}

void castoff_image_unmap(castoff_image *image) {
  if (!image->weights) return;
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t lead = (uintptr_t)image->weights % page;
  castoff_show(image->weights, ((size_t)image->weights_size_bytes + CASTOFF_ALIGNMENT - 1) & -CASTOFF_ALIGNMENT);
  munmap((void *)((uintptr_t)image->weights - lead), (size_t)image->weights_size_bytes + lead);
  image->weights = NULL;
}
