"""Values that name a choice."""

from __future__ import annotations

from ..advice import say

CHOICES = (
    ("TRAIN", "training"),
    ("TEST", "testing val validation eval evaluation inference deploy"),
    (
        say("nettrain has none; {} is the closest", "Adam"),
        "adamax nadam radam lion lamb adabelief adafactor sparseadam adan yogi lookahead rprop lbfgs sophia adamp "
        "ranger",
    ),
    (say("nettrain has none; {} is the closest", "SGD"), "ftrl lars asgd sgdw sophiag signsgd gd averagedsgd muon"),
    (say("that is {} with {}", "SGD", "momentum"), "momentum sgdm gradientdescent momentumoptimizer"),
    ("SGD", "stochasticgradientdescent batchgradientdescent"),
    ("Nesterov", "nag nesterovmomentum nesterovs sgdnesterov"),
    (say("that is {} with amsgrad: true", "Adam"), "amsgrad"),
    ("AdamW", "adamdecoupled decoupledadam adamweightdecay"),
    ("fixed", "constant none const constantlr"),
    (
        say("that is {} with stepvalue, or {} with stepsize", "multistep", "step"),
        "steps multisteplr piecewise piecewiseconstant steplr milestones multifixed stepdecay",
    ),
    ("exp", "exponential exponentiallr exponentialdecay"),
    (say("that is {} with power: 1", "poly"), "linear linearlr polynomial polynomiallr polynomialdecay lineardecay"),
    ("cosine", "cosineannealing cosineannealinglr cosinedecay cos sgdr cosinewarmup"),
    ("plateau", "reducelronplateau reduceonplateau adaptive reducelr"),
    (
        say("nettrain has none; {} with warmup_iter is similar", "cosine"),
        "onecycle onecyclelr cyclic cycliclr triangular clr cosinerestarts cosineannealingwarmrestarts warmup noam",
    ),
    (say("{} is similar: (1 + gamma·iter)^-power", "inv"), "inverse inversetime inversetimedecay inversesqrt"),
    ("AVE", "average avg mean avepool avgpool"),
    ("MAX", "maximum maxpool maxpooling"),
    (say("that is {} with count_include_pad: false", "AVE"), "aveexcpad"),
    (say("nettrain has none; it is -max(-x): layers Power with scale: -1 around {}", "MAX"), "min minimum minpool"),
    (say("that is {} with coeff: [1, -1]", "SUM"), "sub subtract minus difference diff"),
    ("SUM", "add plus addition"),
    ("PROD", "mul multiply product times multiplication"),
    (say("nettrain has none; Power with power: -1, then {}", "PROD"), "div divide quotient"),
    ("MEAN", "average avg ave reducemean"),
    (say("that is {} with a coeff of 1/n for each", "SUM"), "mean average avg ave"),
    ("SUMSQ", "sumsquare l2 sumofsquares sqsum"),
    ("ASUM", "l1 abssum sumabs"),
    (
        say("nettrain has none; over axes there are {}, {}, {} and {}", "SUM", "ASUM", "SUMSQ", "MEAN"),
        "max min prod logsumexp",
    ),
    ("reflect", "mirror reflection reflect101"),
    ("edge", "replicate replication border nearest"),
    (say("that is {} with value: 0, or the number 0", "constant"), "zeros zero none"),
    ("constant", "zero zeros"),
    (
        say("nettrain has none; {} leaves out the edge, {} repeats it", "reflect", "edge"),
        "symmetric circular wrap periodic",
    ),
    (say("that is {}, the mean over all that count", "VALID"), "mean average avg"),
    (say("that is {}, which divides by 1", "NONE"), "sum no"),
    ("BATCH_SIZE", "batchmean batch"),
    ("msra", "he henormal heuniform kaiming kaimingnormal kaiminguniform heinit variancescaling"),
    (
        "xavier",
        "glorot glorotuniform glorotnormal xavieruniform xaviernormal glorotinit lecun lecunnormal lecununiform",
    ),
    ("gaussian", "normal randomnormal randn gauss normaldistribution"),
    (
        say("nettrain has none; {} is the closest", "gaussian"),
        "truncatednormal truncnormal orthogonal sparse spectral dirac",
    ),
    ("uniform", "randomuniform rand uniformdistribution"),
    (say("that is {} with value: 1, or the number 1", "constant"), "ones one"),
    (say("nettrain has none; a matrix can be given as {} with values: […]", "constant"), "identity eye diagonal unit"),
    ("nettrain has none", "l1l2 elasticnet"),
)
