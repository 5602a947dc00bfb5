// Rules between extents and attributes that the letters of shapes cannot say.

#ifndef SADDLE_RUNTIME_OPS_RELATIONS_H
#define SADDLE_RUNTIME_OPS_RELATIONS_H

#include "runtime/ops/Op.h"

namespace saddle::ops {

// The letters that they look at are those of the ops' lines in Ops.cpp.
Status normRelations(const Call &);
Status rmsScaleRelations(const Call &);
Status concatRelations(const Call &);
Status sumOfSquaresRelations(const Call &);
Status ropeRelations(const Call &);
Status scaleRelations(const Call &);
Status kvAppendRelations(const Call &);
Status attentionRelations(const Call &);
Status decayScanRelations(const Call &);
Status encodeRowsRelations(const Call &);
Status linearRelations(const Call &);
Status linearOfCodesRelations(const Call &);
Status routerRelations(const Call &);
Status sharedGateRelations(const Call &);
Status expertsRelations(const Call &);
Status expertsOfCodesRelations(const Call &);
Status topCandidatesRelations(const Call &);
Status mergeCandidatesRelations(const Call &);

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_RELATIONS_H
