import sys

from forebay.api.generate import main
from forebay.api.generate import render_files as render_crds
from generator.chart import render_chart
from generator.install import render_install

# The chart holds the CRDs, and the install manifest is what Helm makes of the chart on disk.
sys.exit(main(sys.argv[1:], (render_crds, render_chart, render_install)))
