// Command crdcheck says what a Kubernetes apiserver would answer: it loads a CRD, checks it with Kubernetes' own
// code (structural schema, CEL compilation and cost budget), and then each object that it reads from stdin, as a JSON
// list of YAML texts. It prints {"crd": [errors], "objects": [{"errors": [..], "defaulted": {..}}]}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	crdv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type answer struct {
	Errors    []string       `json:"errors"`
	Defaulted map[string]any `json:"defaulted,omitempty"`
}

type report struct {
	CRD     []string `json:"crd"`
	Objects []answer `json:"objects"`
}

// checker holds what the apiserver makes of one version of a CRD.
type checker struct {
	kind       string
	apiVersion string
	structural *schema.Structural
	openapi    validation.SchemaValidator
	cel        *cel.Validator
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return value
}

// readCRD decodes the file as `kubectl apply` with strict field validation would, and fills in the API's defaults.
func readCRD(path string) (*apiextensions.CustomResourceDefinition, *crdv1.CustomResourceDefinition, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	external := &crdv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, external); err != nil {
		return nil, nil, err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	scheme.Default(external)
	internal := &apiextensions.CustomResourceDefinition{}
	if err := scheme.Convert(external, internal, nil); err != nil {
		return nil, nil, err
	}
	return internal, external, nil
}

func newChecker(crd *crdv1.CustomResourceDefinition) (*checker, error) {
	version := crd.Spec.Versions[0]
	props := &apiextensions.JSONSchemaProps{}
	if err := crdv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		version.Schema.OpenAPIV3Schema, props, nil); err != nil {
		return nil, err
	}
	structural, err := schema.NewStructural(props)
	if err != nil {
		return nil, err
	}
	openapi, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, err
	}
	return &checker{
		kind:       crd.Spec.Names.Kind,
		apiVersion: crd.Spec.Group + "/" + version.Name,
		structural: structural,
		openapi:    openapi,
		cel:        cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// check follows the apiserver's create request: strict decoding, pruning, defaulting, metadata, OpenAPI, lists, CEL.
func (c *checker) check(text string) answer {
	// kubectl reads YAML with this very function, and sends JSON.
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return answer{Errors: []string{"YAML: " + err.Error()}}
	}
	decoded := unstructured.Unstructured{}
	if err := decoded.UnmarshalJSON(raw); err != nil {
		return answer{Errors: []string{"JSON: " + err.Error()}}
	}
	object := decoded.Object
	errs := []string{}
	if decoded.GetKind() != c.kind || decoded.GetAPIVersion() != c.apiVersion {
		errs = append(errs, "wrong apiVersion or kind")
	}
	meta, _, unknownMeta, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{
		ReturnUnknownFieldPaths: true,
	})
	if err != nil {
		return answer{Errors: append(errs, "metadata: "+err.Error())}
	}
	for _, path := range append(unknownMeta, pruning.PruneWithOptions(object, c.structural, true,
		schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...) {
		errs = append(errs, "unknown field "+path)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, c.structural)
	defaulting.Default(object, c.structural)
	if meta.Namespace == "" {
		meta.Namespace = "default"
	}
	for _, err := range metavalidation.ValidateObjectMeta(meta, true, metavalidation.NameIsDNSSubdomain, nil) {
		errs = append(errs, "metadata: "+err.Error())
	}
	schemaErrs := validation.ValidateCustomResource(nil, object, c.openapi)
	schemaErrs = append(schemaErrs, listtype.ValidateListSetsAndMaps(nil, c.structural, object)...)
	if len(schemaErrs) == 0 {
		celErrs, _ := c.cel.Validate(context.Background(), nil, c.structural, object, nil, celconfig.RuntimeCELCostBudget)
		schemaErrs = append(schemaErrs, celErrs...)
	}
	for _, err := range schemaErrs {
		errs = append(errs, err.Error())
	}
	return answer{Errors: errs, Defaulted: object}
}

func main() {
	internal, external, err := readCRD(os.Args[1])
	if err != nil {
		must(0, json.NewEncoder(os.Stdout).Encode(report{CRD: []string{err.Error()}}))
		return
	}
	result := report{CRD: []string{}, Objects: []answer{}}
	for _, err := range crdvalidation.ValidateCustomResourceDefinition(context.Background(), internal) {
		result.CRD = append(result.CRD, err.Error())
	}
	if len(result.CRD) == 0 {
		texts := []string{}
		must(0, json.NewDecoder(os.Stdin).Decode(&texts))
		checker := must(newChecker(external))
		for _, text := range texts {
			result.Objects = append(result.Objects, checker.check(text))
		}
	}
	must(0, json.NewEncoder(os.Stdout).Encode(result))
}
