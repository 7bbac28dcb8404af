"""Losses and scores."""

from __future__ import annotations

from ..advice import say

TYPES = (
    (
        say("softmax and cross entropy are one layer, {}", "SoftmaxWithLoss"),
        "crossentropy crossentropyloss softmaxloss softmaxcrossentropy softmaxcrossentropyloss "
        "categoricalcrossentropy sparsecategoricalcrossentropy ce celoss softmaxwithcrossentropy "
        "sparsesoftmaxcrossentropy softmaxoutput xent softmaxcrossentropywithlogits",
    ),
    (
        say("the squared error is {}, (1/2N) times the sum of squares", "EuclideanLoss"),
        "mse mseloss meansquarederror l2loss l2 squaredloss squarederror squareloss cost sse quadraticloss "
        "euclidean l2distanceloss",
    ),
    (
        say("the mean absolute error is {}", "L1Loss"),
        "mae maeloss meanabsoluteerror l1 absoluteloss absoluteerror l1cost",
    ),
    (
        say("a squared error that becomes absolute is {}", "SmoothL1Loss"),
        "huberloss huber smoothl1 smoothl1losslayer smoothl1lossohem",
    ),
    (
        say("the multiclass SVM loss is {}; each class against all others, {}", "MulticlassSVMLoss", "HingeLoss"),
        "svmloss svm hinge marginloss categoricalhinge squaredhinge softmarginloss multiclasshinge "
        "multilabelmarginloss",
    ),
    (say("the multiclass SVM loss is {}", "MulticlassSVMLoss"), "multimarginloss"),
    (
        say("yes or no for every element is {}, from scores", "SigmoidCrossEntropyLoss"),
        "bceloss binarycrossentropy bce binarycrossentropyloss binarycrossentropywithlogits logisticloss logloss "
        "sigmoidloss multilabelloss",
    ),
    (
        say("yes or no for every element is {}", "SigmoidCrossEntropyLoss"),
        "bcewithlogitsloss bcewithlogits sigmoidcrossentropywithloss sigmoidcrossentropy multilabelsoftmarginloss",
    ),
    (
        say(
            "cross entropy of given probabilities is {}; of scores, {}",
            "MultinomialLogisticLoss",
            "SoftmaxWithLoss",
        ),
        "nllloss nll negativeloglikelihood negativeloglikelihoodloss logisticregression",
    ),
    (
        say("a loss for pairs is {}", "ContrastiveLoss"),
        "contrastive pairloss siameseloss marginrankingloss cosineembeddingloss hingeembeddingloss",
    ),
    (
        say("nettrain has none; {} learns from pairs", "ContrastiveLoss"),
        "tripletloss tripletmarginloss triplet centerloss infonce npairloss arcface cosface rankingloss lifted "
        "quadrupletloss",
    ),
    (
        say("nettrain has none; with {}, {} weights some classes more", "class_weight", "SoftmaxWithLoss"),
        "focalloss focal softmaxwithfocalloss sigmoidfocalloss weightedsoftmaxwithloss softmaxwithlossohem "
        "diceloss dice tverskyloss jaccardloss iouloss weightedsoftmaxloss ghmloss generalizeddice "
        "softmaxfocalloss",
    ),
    (
        say("nettrain has none; its losses are in {}", "nettrain layers"),
        "ctcloss ctc ctcbeamsearchdecoder kldivloss kldivergence kld poissonnllloss poisson gaussiannllloss "
        "logcosh klloss cosineloss wingloss yololoss yolov3loss regionloss multiboxloss crfloss rnntloss "
        "perceptualloss",
    ),
    (
        say("the share of correct answers is {}", "Accuracy"),
        "acc categoricalaccuracy sparsecategoricalaccuracy metric metrics topkaccuracy top1 top5 accuracylayer "
        "precision1 evaluation eval",
    ),
    (
        say("the share of correct answers, yes or no for each element, is {}", "BinaryAccuracy"),
        "multilabelaccuracy sigmoidaccuracy binaryacc",
    ),
    (
        say("nettrain has none; {} gives one share for each class as its second top", "Accuracy"),
        "precision recall f1 f1score auc roc map meaniou iou confusionmatrix perclassaccuracy detectionevaluate "
        "precisionrecall",
    ),
)
