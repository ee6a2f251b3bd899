{{/*
The alert rules: one text, for the rules file and for the PrometheusRule. Thresholds, uid and revision are labels and values of the engines'
own metrics, so that what fires is bound to the very rollout and revision that it speaks of. `for: 0s`: a minute's mean is no flicker.
*/}}
{{- define "indexcache.means" -}}
{{- $of := printf "{mode=\"on\",judged=\"true\"}[%s]" .window -}}
(
  sum by ({{ .by }}) (increase(indexcache_{{ .metric }}_sum{{ $of }}))
    / sum by ({{ .by }}) (increase(indexcache_{{ .metric }}_count{{ $of }}))
  < on (namespace, rollout, uid, revision) group_left ()
    max by (namespace, rollout, uid, revision) (indexcache_guardrail_min{guardrail="{{ .guardrail }}"})
)
and on ({{ .by }})
  sum by ({{ .by }}) (increase(indexcache_{{ .metric }}_count{{ $of }})) >= {{ .minSamples }}
{{- end -}}

{{- define "indexcache.alerts" -}}
{{- $a := .Values.alerts -}}
{{- $identity := "namespace, rollout, uid, revision" -}}
{{- $per := dict "window" $a.window "minSamples" $a.minSamples "metric" "recall" "by" (printf "%s, site" $identity) "guardrail" "recall_per_indexer" -}}
{{- $all := dict "window" $a.window "minSamples" $a.minSamples "metric" "recall" "by" $identity "guardrail" "recall" -}}
{{- $overlap := dict "window" $a.window "minSamples" $a.minSamples "metric" "overlap" "by" $identity "guardrail" "overlap" -}}
groups:
- name: indexcache
  rules:
  - alert: IndexCacheRecallBelowThreshold
    expr: |
      {{- include "indexcache.means" $per | nindent 6 }}
    for: 0s
    labels: {{ merge (dict "severity" $a.severity) $a.labels | toJson }}
    annotations:
      summary: >-
        Indexer {{ "{{ $labels.site }}" }} of rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }}, revision {{ "{{ $labels.revision }}" }}:
        reused sets cover {{ "{{ $value | humanizePercentage }}" }} of the score mass, under the threshold
  - alert: IndexCacheOverallRecallBelowThreshold
    expr: |
      {{- include "indexcache.means" $all | nindent 6 }}
    for: 0s
    labels: {{ merge (dict "severity" $a.severity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }}, revision {{ "{{ $labels.revision }}" }}: over all indexers reused sets cover
        {{ "{{ $value | humanizePercentage }}" }} of the score mass, under the threshold
  - alert: IndexCacheOverlapBelowThreshold
    expr: |
      {{- include "indexcache.means" $overlap | nindent 6 }}
    for: 0s
    labels: {{ merge (dict "severity" $a.severity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }}, revision {{ "{{ $labels.revision }}" }}: reused sets hold
        {{ "{{ $value | humanizePercentage }}" }} of the fresh ones, under the threshold
# What people should know of the operator itself. None names a revision, so none makes the operator do anything.
- name: indexcache-operator
  rules:
  - alert: IndexCacheOperatorGone
    expr: absent(indexcache_operator_leader) and on () (count(indexcache_guardrail_min) > 0)
    for: 1m
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Engines run and no operator is scraped: nobody sees a kill, renews a permit or rolls back but the engines' own breakers. Look
        whether its pod runs and whether Prometheus may reach it
  - alert: IndexCacheOperatorWithoutLeader
    expr: max(indexcache_operator_leader) == 0 and on () (count(indexcache_guardrail_min) > 0)
    for: 1m
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Operators run and none of those that are scraped leads: kills are obeyed, but no permit is renewed, and no rollout moves or is taken
        back but by the engines' own breakers. Look at the Lease of the release and at the operators' logs
  - alert: IndexCacheRolloutUnwatched
    expr: time() - max by (namespace, rollout) (indexcache_operator_last_successful_look_timestamp_seconds) > 60
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        No look at rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }} has succeeded for {{ "{{ $value | humanizeDuration }}" }}; its
        condition OperatorHealthy and the operator's log say why
  - alert: IndexCacheFellBack
    expr: max by (namespace, rollout) (indexcache_operator_rollout_phase{phase=~"FallingBack|FellBack"}) == 1
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Rollout {{ "{{ $labels.namespace }}/{{ $labels.rollout }}" }} is back at the baseline; its column REASON says why, and its message what
        leads on
  - alert: IndexCacheAlertsNotServed
    expr: sum by (outcome) (increase(indexcache_operator_alerts_total{outcome=~"unauthorized|no_token|malformed|not_persisted"}[5m])) > 0
    for: 0s
    labels: {{ merge (dict "severity" $a.operatorSeverity) $a.labels | toJson }}
    annotations:
      summary: >-
        Alertmanager's calls end as {{ "{{ $labels.outcome }}" }}: an alert may be unable to roll back. Compare the receiver's token with the
        Secret of the webhook
{{- end -}}
