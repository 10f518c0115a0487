/*
 * data_dir/follow: init saw that another pod leads, so the server begins as a follower, whatever
 * its store records and the configuration names. init writes it; the server removes it once its
 * store is a follower's.
 */
#ifndef LIB_PROTOCOL_FOLLOW_MARK_H_
#define LIB_PROTOCOL_FOLLOW_MARK_H_

#define FOLLOW_MARK_NAME "follow"

#endif
