/*
 * Tasks of a pod's containers for which a minimal image has no tools: asking a page and waiting a
 * while. Each is the whole of a short-lived process (seedpod-sidecar --probe, --linger), started by
 * the kubelet.
 */
#ifndef SIDECAR_CONTAINER_H_
#define SIDECAR_CONTAINER_H_

/*
 * For an exec probe: GET `url`, print the first line of the answer, and return 0 if the status is
 * 200, 1 if it is not or none came in time. The kubelet shows what an exec probe printed in the
 * pod's events, and keeps an HTTP probe's answer to itself: this is how `kubectl describe pod`
 * shows why a pod is not ready. An https:// page is asked as the file `config_path` says in [tls];
 * for others it is not read.
 */
int container_probe(const char *url, const char *config_path);

/*
 * For a preStop hook: return 0 after so many seconds ("5"), in which the Services forget the pod while it still
 * answers; 64 if `seconds` is no whole number from 0 to 600.
 */
int container_linger(const char *seconds);

#endif
