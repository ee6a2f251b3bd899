{{- define "indexcache.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "indexcache.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "indexcache.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "indexcache.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "indexcache.selector" -}}
app.kubernetes.io/name: {{ include "indexcache.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "indexcache.labels" -}}
{{ include "indexcache.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "indexcache.serviceAccount" -}}
{{- default (include "indexcache.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "indexcache.tokenSecret" -}}
{{- default (printf "%s-webhook" (include "indexcache.fullname" .)) .Values.webhook.existingSecret -}}
{{- end -}}

{{- define "indexcache.controlKeysSecret" -}}
{{- default (printf "%s-control-keys" (include "indexcache.fullname" .)) .Values.controlKeys.existingSecret -}}
{{- end -}}

{{- define "indexcache.image" -}}
{{ include "indexcache.reference" (list .Values.image .Chart.AppVersion) }}
{{- end -}}

{{/* An image by its digest, else by its tag, else by this version's. */}}
{{- define "indexcache.reference" -}}
{{- $image := first . -}}
{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default (last .) $image.tag }}{{ end }}
{{- end -}}

{{- define "indexcache.engineNamespaces" -}}
{{- default .Values.watchNamespaces .Values.networkPolicy.engineNamespaces | toJson -}}
{{- end -}}

{{- define "indexcache.env" -}}
- {name: INDEXCACHE_RUNTIME_IMAGE, value: {{ include "indexcache.reference" (list .Values.runtime .Chart.AppVersion) | quote }}}
- {name: INDEXCACHE_RUNTIME_PULL_POLICY, value: {{ .Values.runtime.pullPolicy | quote }}}
- {name: INDEXCACHE_CONTROL_KEYS, value: /var/run/control-keys}
{{- if not .Values.controlKeys.existingSecret }}
- {name: INDEXCACHE_CONTROL_KEYS_SECRET, value: {{ printf "%s/%s" .Release.Namespace (include "indexcache.controlKeysSecret" .) | quote }}}
{{- end }}
- {name: INDEXCACHE_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: INDEXCACHE_LOG_LEVEL, value: {{ .Values.logLevel | quote }}}
{{- /* What answers of 64 KiB and more took goes back to the system at once: without this glibc keeps it, the more the larger they were. */}}
- {name: MALLOC_MMAP_THRESHOLD_, value: "65536"}
- {name: MALLOC_TRIM_THRESHOLD_, value: "65536"}
{{- with .Values.hub.endpoint }}
- {name: HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secret that the operator itself makes isn't there yet when it starts for the first time. */}}
{{- define "indexcache.controlKeysVolume" -}}
- {name: control-keys, secret: {secretName: {{ include "indexcache.controlKeysSecret" . }}, optional: {{ not .Values.controlKeys.existingSecret }}}}
{{- end -}}

{{- define "indexcache.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "indexcache.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "indexcache.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Replicas on nodes of their own, where there are as many. */}}
{{- define "indexcache.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
  - weight: 100
    podAffinityTerm:
      topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels: {{ include "indexcache.selector" . | nindent 10 }}
          app.kubernetes.io/component: operator
{{- end -}}

{{/* What the operator may do in a namespace whose rollouts it watches. */}}
{{- define "indexcache.rules" -}}
- {apiGroups: [indexcache.dev], resources: [indexcacherollouts], verbs: [get, list, watch, patch]}
- {apiGroups: [indexcache.dev], resources: [indexcacherollouts/status], verbs: [update]}
# An owner reference that blocks its owner's deletion, where admission asks for the right to set one.
- {apiGroups: [indexcache.dev], resources: [indexcacherollouts/finalizers], verbs: [update]}
- {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [services], verbs: [get, list, watch, create, patch, delete]}
# Control tokens are derived, so no Secret is ever read.
- {apiGroups: [""], resources: [secrets], verbs: [create]}
- {apiGroups: [""], resources: [configmaps], verbs: [get]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch, patch]}
- {apiGroups: [""], resources: [events], verbs: [create]}
- {apiGroups: [gateway.networking.k8s.io], resources: [httproutes], verbs: [get, list, watch, patch]}
{{- end -}}
