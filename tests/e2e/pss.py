"""Pod Security Standard "restricted", checked over rendered manifests.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ as of Kubernetes 1.32; for clusters before 1.23,
which have no admission for it.
"""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
UNSAFE_HOST = ("hostNetwork", "hostPID", "hostIPC")


def pod_spec(thing):
    if thing["kind"] == "Pod":
        return thing["spec"]
    return thing.get("spec", {}).get("template", {}).get("spec")


def violations(thing):
    """What the standard forbids in a rendered object, as texts; none for objects without a pod."""
    spec, found = pod_spec(thing), []
    if not isinstance(spec, dict) or "containers" not in spec:
        return found
    pod = spec.get("securityContext", {})
    for key in UNSAFE_HOST:
        if spec.get(key):
            found.append(key)
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            found.append(f"volume {volume['name']}: {', '.join(kinds)}")
    for container in spec.get("initContainers", []) + spec["containers"]:
        found += [f"container {container['name']}: {text}" for text in of_container(container, pod)]
    # Beyond the standard, what issue and documentation promise.
    if spec.get("automountServiceAccountToken") is not False:
        found.append("a service account's token is mounted")
    if pod.get("fsGroupChangePolicy") != "OnRootMismatch":
        found.append("fsGroupChangePolicy is not OnRootMismatch")
    return found


def of_container(container, pod):
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "capabilities are not all dropped"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runs as root"
    profile = own.get("seccompProfile", pod.get("seccompProfile", {})).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield f"seccomp profile {profile}"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"host port {port['hostPort']}"
    if not own.get("readOnlyRootFilesystem"):
        yield "the root file system can be written"
