/* The version, in one place; the Makefile reads it from here. */
#ifndef LIB_BASE_VERSION_H_
#define LIB_BASE_VERSION_H_

#define SEEDPOD_VERSION "0.1.0"

#endif
