#!/bin/sh
# seal.sh LIBRARY WEIGHTS MANIFEST ABI_MAJOR ABI_MINOR: writes the finished artefact to standard output:
#
#     [LIBRARY] [zeros to 4096] [WEIGHTS] [MANIFEST] [footer, 64 bytes]
#
# castoff_image.c reads this layout; it says what the footer holds. gzip ends its output with the CRC-32 of its input.
set -eu

size_of() { wc -c < "$1" | tr -d ' '; }

# little_endian VALUE BYTES
little_endian() {
  value=$1
  left=$2
  while [ "$left" -gt 0 ]; do
    printf "\\$(printf '%03o' $((value & 255)))"
    value=$((value >> 8))
    left=$((left - 1))
  done
}

crc32_of() { gzip -c | tail -c 8 | head -c 4; }

library_size=$(size_of "$1")
weights_size=$(size_of "$2")
manifest_size=$(size_of "$3")
weights_offset=$(((library_size + 4095) / 4096 * 4096))
manifest_offset=$((weights_offset + weights_size))

footer() {
  printf 'CSTOFF\r\n'
  little_endian "$1" 4
  little_endian "$2" 4
  little_endian "$weights_offset" 8
  little_endian "$weights_size" 8
  little_endian "$manifest_offset" 8
  little_endian "$manifest_size" 8
  little_endian $((manifest_offset + manifest_size + 64)) 8
  crc32_of < "$3"
}

cat "$1"
head -c $((weights_offset - library_size)) /dev/zero
cat "$2" "$3"
footer "$4" "$5" "$3"
footer "$4" "$5" "$3" | crc32_of
