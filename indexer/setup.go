package indexer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-flow/weir/indexer/ecs"
	"github.com/weir-flow/weir/indexer/templates"
	"github.com/weir-flow/weir/internal/elastic"
)

// Plan is what Setup did, or with dryRun would do.
type Plan struct {
	// Server is what was found out about the server, for a person to read.
	Server []string
	// Changes in the order in which they are made.
	Changes []Change
}

// Change is one step of a plan.
type Change struct {
	// Action is create, update, keep or roll over.
	Action string
	// Kind is component template, index template or data stream.
	Kind string
	Name string
}

// String returns one line for a person.
func (c Change) String() string { return fmt.Sprintf("%-9s %s %s", c.Action, c.Kind, c.Name) }

// The actions of a Change.
const (
	ActionCreate   = "create"
	ActionUpdate   = "update"
	ActionKeep     = "keep"
	ActionRollOver = "roll over"
)

// CustomTemplate is the component template in which a site overrides our
// settings and adds fields. We never write it.
const CustomTemplate = "weir@custom"

// templatePriority wins over Elasticsearch's own logs template (100) and over
// Fleet's (200).
const templatePriority = 500

// Setup puts the templates of the data streams, and rolls over the data stream
// of the namespace where a template has changed, since a template applies to
// new indices only. What is there already and the same is kept: calling it
// again does nothing. With dryRun nothing is changed.
func Setup(ctx context.Context, client *elastic.Client, c Storage, namespace string, dryRun bool) (Plan, error) {
	var plan Plan
	server, err := probe(ctx, client, c)
	if err != nil {
		return plan, err
	}
	for _, name := range templates.OptionalTypes() {
		plan.Server = append(plan.Server, fmt.Sprintf("field type %s: %s", name, yesNo(!server.Lacks[name])))
	}
	plan.Server = append(plan.Server, "synthetic source: "+yesNo(server.SyntheticSource))
	if c.Source == SourceSynthetic && !server.SyntheticSource {
		return plan, fmt.Errorf("indexer.storage.source: the server refuses synthetic source; use auto or stored")
	}
	for _, d := range []struct {
		dataset   string
		fields    func() ([]templates.Field, error)
		retention time.Duration
		flows     bool
	}{
		{ecs.DatasetFlow, templates.Flow, c.FlowRetention, true},
		{ecs.DatasetAlert, templates.Alert, c.AlertRetention, false},
	} {
		fields, err := d.fields()
		if err != nil {
			return plan, err
		}
		component := "weir@" + strings.TrimPrefix(d.dataset, "weir.")
		changed, err := put(ctx, client, &plan, dryRun, "component template", "/_component_template/"+component, component,
			"component_templates", "component_template", componentTemplate(fields, server, c, d.retention, d.flows))
		if err != nil {
			return plan, err
		}
		name := "logs-" + d.dataset
		if _, err := put(ctx, client, &plan, dryRun, "index template", "/_index_template/"+name, name,
			"index_templates", "index_template", indexTemplate(name, component)); err != nil {
			return plan, err
		}
		if changed {
			if err := rollOver(ctx, client, &plan, dryRun, ecs.DataStream(d.dataset, namespace)); err != nil {
				return plan, err
			}
		}
	}
	return plan, nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// probe asks the server for what distributions and licences differ in, by
// simulating a template with it: no version or licence to interpret, and no
// privilege that putting templates does not need.
func probe(ctx context.Context, client *elastic.Client, c Storage) (templates.Server, error) {
	s := templates.Server{Lacks: map[string]bool{}}
	for _, name := range templates.OptionalTypes() {
		ok, err := accepts(ctx, client, map[string]any{
			"mappings": map[string]any{"properties": map[string]any{"probe": map[string]any{"type": name}}},
		})
		if err != nil {
			return s, err
		}
		s.Lacks[name] = !ok
	}
	if c.Source == SourceStored {
		return s, nil
	}
	var err error
	s.SyntheticSource, err = accepts(ctx, client, map[string]any{"settings": map[string]any{sourceMode: "synthetic"}})
	return s, err
}

const sourceMode = "index.mapping.source.mode"

func accepts(ctx context.Context, client *elastic.Client, template map[string]any) (bool, error) {
	err := client.Do(ctx, http.MethodPost, "/_index_template/_simulate", map[string]any{
		"index_patterns": []string{"weir-probe-*"}, "data_stream": map[string]any{}, "priority": templatePriority, "template": template,
	}, nil)
	if elastic.IsStatus(err, http.StatusBadRequest) {
		return false, nil
	}
	return err == nil, err
}

func componentTemplate(fields []templates.Field, server templates.Server, c Storage, retention time.Duration, flows bool) map[string]any {
	settings := map[string]any{
		// One node has no place for a replica, and stays green without.
		"index.auto_expand_replicas": "0-1",
		"index.sort.field":           "@timestamp",
		"index.sort.order":           "desc",
		// An alert's free part may not make a mapping grow without a bound,
		// nor cost the alert.
		"index.mapping.total_fields.ignore_dynamic_beyond_limit": true,
	}
	mappings := templates.Mappings(fields, server)
	if flows {
		settings["index.number_of_shards"] = strconv.Itoa(c.Shards)
		if c.Mode == ModeLogsDB {
			settings["index.mode"] = "logsdb"
		}
		switch {
		case c.Source == SourceStored:
			// Said, because it is not logsdb's default.
			if c.Mode == ModeLogsDB {
				settings[sourceMode] = "stored"
			}
			settings["index.codec"] = "best_compression"
		case server.SyntheticSource:
			settings[sourceMode] = "synthetic"
		default:
			settings["index.codec"] = "best_compression"
		}
	} else {
		templates.Open(mappings, "weir")
	}
	template := map[string]any{"settings": settings, "mappings": mappings}
	lifecycle := map[string]any{}
	if retention > 0 {
		lifecycle["data_retention"] = retentionText(retention)
	}
	template["lifecycle"] = lifecycle
	return map[string]any{"template": template}
}

// retentionText writes a duration as Elasticsearch reads it.
func retentionText(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	}
	return strconv.Itoa(int(d/time.Hour)) + "h"
}

func indexTemplate(name, component string) map[string]any {
	return map[string]any{
		"index_patterns":                     []string{name + "-*"},
		"data_stream":                        map[string]any{},
		"priority":                           templatePriority,
		"composed_of":                        []string{component, CustomTemplate},
		"ignore_missing_component_templates": []string{CustomTemplate},
	}
}

// put writes one template unless the one that is there carries the digest of
// the same body. list and item name the members of the answer to GET.
func put(ctx context.Context, client *elastic.Client, plan *Plan, dryRun bool, kind, path, name, list, item string, body map[string]any) (changed bool, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:8])
	body["_meta"] = map[string]any{"managed_by": "weir setup", "digest": digest}

	var there map[string][]map[string]struct {
		Meta struct {
			Digest string `json:"digest"`
		} `json:"_meta"`
	}
	action := ActionUpdate
	switch err := client.Do(ctx, http.MethodGet, path+"?filter_path="+list+"."+item+"._meta", nil, &there); {
	case elastic.IsStatus(err, http.StatusNotFound):
		action = ActionCreate
	case err != nil:
		return false, err
	case len(there[list]) == 1 && there[list][0][item].Meta.Digest == digest:
		action = ActionKeep
	}
	plan.Changes = append(plan.Changes, Change{Action: action, Kind: kind, Name: name})
	if action == ActionKeep || dryRun {
		return action == ActionUpdate, nil
	}
	return action == ActionUpdate, client.Do(ctx, http.MethodPut, path, body, nil)
}

// rollOver starts a new backing index, if the data stream is there. The
// servers that can do so wait for the next document.
func rollOver(ctx context.Context, client *elastic.Client, plan *Plan, dryRun bool, stream string) error {
	switch err := client.Do(ctx, http.MethodHead, "/"+stream, nil, nil); {
	case elastic.IsStatus(err, http.StatusNotFound):
		return nil
	case err != nil:
		return err
	}
	plan.Changes = append(plan.Changes, Change{Action: ActionRollOver, Kind: "data stream", Name: stream})
	if dryRun {
		return nil
	}
	err := client.Do(ctx, http.MethodPost, "/"+stream+"/_rollover?lazy=true", nil, nil)
	if elastic.IsStatus(err, http.StatusBadRequest) { // before 8.13
		err = client.Do(ctx, http.MethodPost, "/"+stream+"/_rollover", nil, nil)
	}
	return err
}
