/*
 * Offsets in the file that LMDB writes, for the few files that read it past LMDB: data format 1 on
 * a 64-bit little-endian machine (lmdb 0.9, mdb.c: MDB_page, MDB_meta, MDB_db, MDB_node). Offsets
 * and sizes in bytes.
 */
#ifndef SERVER_STORE_STORE_LAYOUT_H_
#define SERVER_STORE_STORE_LAYOUT_H_

#define LMDB_MAGIC   0xBEEFC0DEu
#define LMDB_VERSION 1u

/* Pages 0 and 1 are meta pages; version N stands on page N % 2. */
#define META_PAGES      2
#define META_PGNO_BYTES 8   /* a page begins with its own number */
#define META_MAGIC      16  /* u32 */
#define META_VERSION    20  /* u32 */
#define META_MAP_SIZE   32  /* u64, bytes */
#define META_PAGE_SIZE  40  /* u32, bytes */
#define META_FREE_TREE  40  /* LMDB's database 0, see TREE_ROOT: the free list; its first word is the page size */
#define META_MAIN_TREE  88  /* database 1, whose leaves describe the named ones */
#define META_FREE_ROOT  80  /* u64: the root page of the free list, LMDB's database 0 */
#define META_LAST_PG    136 /* u64: the last page in use */
#define META_TXNID      144 /* u64: the version */
#define META_END        152

#define NO_PAGE UINT64_MAX /* the root of an empty database */

/* A page of a tree, and its nodes, whose offsets from the page's begin follow its header. */
#define PAGE_FLAGS          10 /* u16 */
#define PAGE_LOWER          12 /* u16: where the offsets end */
#define PAGE_UPPER          14 /* u16: where the nodes begin */
#define PAGE_OVERFLOW_PAGES 12 /* u32: how many pages a large value has */
#define PAGE_HEADER_BYTES   16
#define PAGE_BRANCH         0x01u
#define PAGE_LEAF           0x02u
#define PAGE_OVERFLOW       0x04u

#define NODE_LOW          0 /* u16, u16: the data's length; in a branch the child's number, low part first */
#define NODE_HIGH         2
#define NODE_FLAGS        4 /* u16; in a branch the child's number, its highest part */
#define NODE_KEY_LEN      6 /* u16 */
#define NODE_HEADER_BYTES 8
#define NODE_OVERFLOW     0x01u /* flag: the data is the number of the page where the data is, after that page's header */

#define NODE_TREE 0x02u /* flag: the data describe a tree */

/* A tree's description. */
#define TREE_FLAGS       4  /* u16 */
#define TREE_DEPTH       6  /* u16: pages from the root to a leaf */
#define TREE_ROOT        40 /* u64 */
#define TREE_BYTES       48
#define TREE_INTEGER_KEY 0x08u

#define TREE_DEPTH_MAX 32 /* pages from the root to a leaf */

#endif
